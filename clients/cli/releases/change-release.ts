import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { listChanges, showChanges } from '../workspace/changes.ts';
import { type CommitOptions, commitPaths, requireCommittable, wantsCommit } from '../workspace/commits.ts';
import { renderManifests } from '../workspace/manifests.ts';
import { manifestFolder, modelFile, readPresent, type Workspace } from '../workspace/workspace.ts';
import { describeFaults, nameTarget, type ReleaseFile, readRelease } from './release-file.ts';

/** A release file that is to become this text. */
export interface Change {
  environment: string;
  model: string;
  text: string;
  /** The subject of its commit. */
  message: (release: ReleaseFile) => string;
}

/**
 * Writes a release file, renders the environment's manifests, shows what changed, and commits where that is asked for.
 * If anything fails before the commit, the release file is again what it was.
 */
export async function changeRelease(
  context: Context,
  workspace: Workspace,
  change: Change,
  options: CommitOptions,
): Promise<void> {
  const { environment, model, text } = change;
  const file = modelFile(environment, model);
  const own = [file, manifestFolder(environment)];
  const release = requireSound(file, text, model);
  if (wantsCommit(options)) await requireCommittable(workspace, own, options);
  await writeAndRender(workspace, { file, text, environment });

  const { terminal } = context;
  const files = await listChanges(workspace, own);
  const patch = await showChanges(workspace, own, terminal.hasColour);
  if (patch !== '') terminal.say(patch.trimEnd());
  const outcome = { environment, file, release, files };
  if (files.length === 0) {
    terminal.say(`${nameTarget(release)} is what ${environment} has already; nothing to do`);
    terminal.result({ ...outcome, commit: null });
    return;
  }
  const agreed =
    context.questions.wereAsked && !wantsCommit(options) && (await context.questions.agree('Commit it?'));
  if (!agreed && !wantsCommit(options)) {
    terminal.say(`${file} is written; nothing is committed yet (--commit does it)`);
    terminal.result({ ...outcome, commit: null });
    return;
  }
  const committed = await commitPaths(workspace, own, { ...options, message: change.message(release) });
  const pushed = committed.pushed ? ', pushed' : '';
  terminal.say(
    `committed ${committed.commit.slice(0, 12)} on ${committed.branch}${pushed}: ${change.message(release)}`,
  );
  terminal.result({ ...outcome, ...committed });
}

function requireSound(file: string, text: string, model: string): ReleaseFile {
  const reading = readRelease(text);
  if (!reading.ok) throw new Failure(`the release is not valid:\n${describeFaults(file, reading.faults)}`);
  if (reading.release.model === model) return reading.release;
  throw new Failure(`${file}: model: it is of ${reading.release.model}`);
}

async function writeAndRender(
  workspace: Workspace,
  { file, text, environment }: { file: string; text: string; environment: string },
): Promise<void> {
  const path = join(workspace.root, file);
  const before = await readPresent(workspace, file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  try {
    await renderManifests(workspace, { environment });
  } catch (error) {
    await (before === undefined ? rm(path) : writeFile(path, before));
    throw error;
  }
}
