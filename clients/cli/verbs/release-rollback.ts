import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { changeRelease } from '../releases/change-release.ts';
import { hasSameTarget, nameTarget, type ReleaseFile, readRelease } from '../releases/release-file.ts';
import type { CommitOptions } from '../workspace/commits.ts';
import { type Earlier, listContents, previousContent } from '../workspace/history.ts';
import {
  isGit,
  modelFile,
  openWorkspace,
  readCommitted,
  requireEnvironment,
  type Workspace,
} from '../workspace/workspace.ts';

export interface RollbackOptions extends CommitOptions {
  repository?: string;
  environment: string;
  model: string;
  /** A revision whose content it becomes. */
  to?: string;
}

/** Makes a release file again what it was, as git has it: the server knows that content and goes back to it at once. */
export async function rollbackRelease(options: RollbackOptions, context: Context): Promise<void> {
  const { model, to } = options;
  const workspace = await openWorkspace(options.repository ?? context.cwd);
  const environment = requireEnvironment(workspace, options.environment);
  const path = modelFile(environment, model);
  if (!(await isGit(workspace)))
    throw new Failure(`${workspace.root} has no git history`, 'A rollback needs one.');
  const earlier = to === undefined ? await findEarlier(workspace, path) : await findAt(workspace, path, to);
  const change = {
    environment,
    model,
    text: earlier.text,
    message: (release: ReleaseFile) =>
      `revert(${environment}): back to ${nameTarget(release)}, as of ${earlier.commit.slice(0, 12)}`,
  };
  await changeRelease(context, workspace, change, options);
}

async function findEarlier(workspace: Workspace, path: string): Promise<Earlier> {
  const contents = await listContents(workspace, path);
  if (contents.length === 0)
    throw new Failure(`git knows no ${path}`, 'Is it committed, and the model right?');
  const earlier = previousContent(contents, givesTheSame);
  if (earlier) return earlier;
  throw new Failure(
    `${path} gave no other version before`,
    'Name a revision with --to, or release another version: fededge release create.',
  );
}

async function findAt(workspace: Workspace, path: string, revision: string): Promise<Earlier> {
  const text = await readCommitted(workspace, path, revision);
  if (text === undefined)
    throw new Failure(`${revision} has no ${path}`, `git log -- ${path} lists its revisions.`);
  return { commit: (await workspace.git.run('rev-parse', '--short=12', revision)).trim(), text };
}

/** Other steps or another gate for the same version are no way back. */
function givesTheSame(a: string, b: string): boolean {
  const [first, second] = [readRelease(a), readRelease(b)];
  return first.ok && second.ok ? hasSameTarget(first.release, second.release) : a === b;
}
