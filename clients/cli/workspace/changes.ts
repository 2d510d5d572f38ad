import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isGit, type Workspace } from './workspace.ts';

/** What the work tree has otherwise than the last commit, among these paths; new files too. The index stays as it is. */
export async function listChanges(workspace: Workspace, paths: readonly string[]): Promise<string[]> {
  if (!(await isGit(workspace))) return [];
  const output = await withIndex(workspace, paths, ['diff', '--cached', '--name-only', '--relative', '-z']);
  return output.split('\0').filter((name) => name !== '');
}

/** The same as a patch for people. */
export async function showChanges(
  workspace: Workspace,
  paths: readonly string[],
  colour: boolean,
): Promise<string> {
  if (!(await isGit(workspace))) return '';
  return withIndex(workspace, paths, [
    'diff',
    '--cached',
    '--relative',
    `--color=${colour ? 'always' : 'never'}`,
  ]);
}

/** In an index of its own, where everything is added. */
async function withIndex(
  { git }: Workspace,
  paths: readonly string[],
  args: readonly string[],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-index-'));
  try {
    const env = { GIT_INDEX_FILE: join(folder, 'index') };
    // Not a copy of the work tree's: that knows files by their time, and one written in the same second looks unchanged.
    await git.attempt(['read-tree', 'HEAD'], env);
    // A path that is neither in the work tree nor in the index is no error here.
    for (const path of paths) await git.attempt(['add', '--all', '--', path], env);
    return (await git.attempt([...args, 'HEAD', '--', ...paths], env)).stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
