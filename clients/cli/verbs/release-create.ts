import type { Operator } from '../../typescript/operator/operator.ts';
import { publishFile } from '../artifacts/publish-file.ts';
import { connect, type ServerOptions } from '../connection.ts';
import type { Context } from '../context.ts';
import { misuse } from '../failure.ts';
import { changeRelease } from '../releases/change-release.ts';
import { editRelease, type ReleaseChanges } from '../releases/release-edit.ts';
import { hasSameTarget, nameTarget, type ReleaseFile, readRelease } from '../releases/release-file.ts';
import { parseBake, parseGate, planCohorts } from '../releases/rules.ts';
import { findRunVersion, findVersion, previousOnServer } from '../releases/targets.ts';
import type { CommitOptions } from '../workspace/commits.ts';
import {
  isGit,
  modelFile,
  openWorkspace,
  readCommitted,
  readPresent,
  requireEnvironment,
  type Workspace,
} from '../workspace/workspace.ts';

export interface CreateOptions extends ServerOptions, CommitOptions {
  repository?: string;
  environment?: string;
  model?: string;
  version?: string;
  digest?: string;
  channel?: string;
  fromRun?: string;
  file?: string;
  to?: string;
  percent?: string;
  canary?: string[];
  gate?: string;
  reports: number;
  bake?: string;
  previous?: string;
}

/** What is to be handed out. */
interface Wanted {
  model: string;
  changes: ReleaseChanges;
}

const UNKNOWN =
  'note: which version devices have is not known here, so none is given to those that wait (--previous says it)';
const NONE = { version: null, channel: null, source: null, digest: null } satisfies ReleaseChanges;

/** Writes the release file of a model in an environment. */
export async function createRelease(options: CreateOptions, context: Context): Promise<void> {
  const rules = readRules(options);
  const workspace = await openWorkspace(options.repository ?? context.cwd);
  const chosen = await context.questions.choose('--environment', options.environment, {
    message: 'Environment',
    choices: async () => workspace.environments.map((value) => ({ value })),
  });
  const environment = requireEnvironment(workspace, chosen);
  let connected: Promise<Operator> | undefined;
  const server = () => (connected ??= connect(options, context));
  const { model, changes } = await findWanted(options, context, server);

  const path = modelFile(environment, model);
  const committed = await readBefore(workspace, path);
  const before = committed === undefined ? undefined : readRelease(committed);
  const asked = before ? {} : await askRules(options, context);
  const draft = editRelease(committed, { model, ...changes, ...rules, ...asked });
  const previous = await findPrevious(options, {
    before: before?.ok ? before.release : undefined,
    draft,
    connected,
  });
  if (previous === undefined) context.terminal.say(UNKNOWN);
  const text = editRelease(draft, { previous: previous ?? null });
  const message = (release: ReleaseFile) => `release(${environment}): ${nameTarget(release)}`;
  await changeRelease(context, workspace, { environment, model, text, message }, options);
}

function readRules({ canary, percent, gate, reports, bake }: CreateOptions): ReleaseChanges {
  const cohorts = planCohorts(canary, percent);
  return {
    ...(cohorts && { cohorts }),
    ...(gate !== undefined && { gate: parseGate(gate, reports) }),
    ...(bake !== undefined && { bakeSeconds: parseBake(bake) }),
  };
}

/** What decides so far: the last commit; without git, what lies there. */
async function readBefore(workspace: Workspace, path: string): Promise<string | undefined> {
  return (await isGit(workspace)) ? readCommitted(workspace, path) : readPresent(workspace, path);
}

async function findWanted(
  options: CreateOptions,
  context: Context,
  server: () => Promise<Operator>,
): Promise<Wanted> {
  const { fromRun, channel, file, to } = options;
  if (fromRun !== undefined) {
    const { model, version, digest } = await findRunVersion(await server(), fromRun);
    if (options.model !== undefined && options.model !== model)
      throw misuse(`the run ${fromRun} trains ${model}`);
    return { model, changes: { ...NONE, version, digest } };
  }
  const model = await context.questions.choose('--model', options.model, {
    message: 'Model',
    choices: async () => (await (await server()).listModels()).map(({ name }) => ({ value: name })),
  });
  if (channel !== undefined) return { model, changes: { ...NONE, channel: 'head' } };
  if (file !== undefined) {
    if (to === undefined) throw misuse('--file needs --to', 'As --to oci://registry.example/models/mnist.');
    return { model, changes: { ...NONE, ...(await publishFile({ file, to, model }, context)) } };
  }
  return { model, changes: { ...NONE, ...(await findNumbered(model, options, context, server)) } };
}

async function findNumbered(
  model: string,
  options: CreateOptions,
  { questions }: Context,
  server: () => Promise<Operator>,
): Promise<{ version: number; digest: string }> {
  const chosen = await questions.choose('--version', options.version, {
    message: 'Version',
    choices: async () =>
      (await (await server()).listVersions(model))
        .toReversed()
        .slice(0, 20)
        .map(({ version, createdAt }) => ({ value: String(version), hint: createdAt })),
  });
  const version = readNumber('--version', chosen);
  if (options.digest !== undefined) return { version, digest: options.digest };
  return { version, digest: (await findVersion(await server(), model, version)).digest };
}

/** A file that is new has no rules yet; somebody may have an opinion. */
async function askRules({ percent, canary }: CreateOptions, { questions }: Context): Promise<ReleaseChanges> {
  if (!questions.wereAsked || percent !== undefined || canary !== undefined) return {};
  const steps = await questions.line({
    message: 'Steps: the share of devices at each of them, in per cent',
    placeholder: '100',
    check: (value) => checked(() => planCohorts(undefined, value)),
  });
  const cohorts = steps === '' ? undefined : planCohorts(undefined, steps);
  return cohorts ? { cohorts } : {};
}

function checked(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** null: there is none; undefined: nobody here knows it. */
async function findPrevious(
  { previous }: CreateOptions,
  facts: { before: ReleaseFile | undefined; draft: string; connected: Promise<Operator> | undefined },
): Promise<number | null | undefined> {
  if (previous === 'none') return null;
  if (previous !== undefined) return readNumber('--previous', previous);
  const next = readRelease(facts.draft);
  if (!next.ok || !facts.before) return null;
  if (hasSameTarget(facts.before, next.release)) return facts.before.previous ?? null;
  const told = facts.connected && (await previousOnServer(await facts.connected, facts.before));
  return told ?? facts.before.version;
}

function readNumber(option: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw misuse(`${option} ${text} is no version`, 'Versions count from 1.');
}
