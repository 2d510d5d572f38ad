import type { Context } from '../context.ts';
import { Failure, misuse } from '../failure.ts';
import { changeRelease } from '../releases/change-release.ts';
import { editRelease } from '../releases/release-edit.ts';
import { describeFaults, nameTarget, type ReleaseFile, readRelease } from '../releases/release-file.ts';
import { previousOf } from '../releases/targets.ts';
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

export interface PromoteOptions extends CommitOptions {
  repository?: string;
  model: string;
  from: string;
  to: string;
}

/** Copies a release file to another environment. Only `previous` is the other environment's own. */
export async function promoteRelease(options: PromoteOptions, context: Context): Promise<void> {
  const { model, from, to } = options;
  const workspace = await openWorkspace(options.repository ?? context.cwd);
  for (const name of [from, to]) requireEnvironment(workspace, name);
  if (from === to) throw misuse('--from and --to name one environment');
  const source = await readSource(workspace, { file: modelFile(from, model), from });
  const release = requireValid(modelFile(from, model), source);
  const before = await readTarget(workspace, modelFile(to, model));
  const text = editRelease(source, { previous: previousOf(before, release) ?? null });
  const message = (promoted: ReleaseFile) => `release(${to}): ${nameTarget(promoted)}, as in ${from}`;
  await changeRelease(context, workspace, { environment: to, model, text, message }, options);
}

/** What was decided there, not what somebody is still writing. */
async function readSource(
  workspace: Workspace,
  { file, from }: { file: string; from: string },
): Promise<string> {
  const text = await readCommitted(workspace, file);
  if (text !== undefined) return text;
  const present = await readPresent(workspace, file);
  if (present === undefined)
    throw new Failure(`${from} has no release of that model (${file})`, 'fededge release create makes one.');
  if (await isGit(workspace))
    throw new Failure(`${file} is not committed yet`, 'Commit it first: what is promoted was decided.');
  return present;
}

async function readTarget(workspace: Workspace, file: string): Promise<ReleaseFile | undefined> {
  const text = (await isGit(workspace))
    ? await readCommitted(workspace, file)
    : await readPresent(workspace, file);
  const reading = text === undefined ? undefined : readRelease(text);
  return reading?.ok ? reading.release : undefined;
}

function requireValid(file: string, text: string): ReleaseFile {
  const reading = readRelease(text);
  if (reading.ok) return reading.release;
  throw new Failure(`the release is not valid:\n${describeFaults(file, reading.faults)}`);
}
