import { Failure } from '../failure.ts';
import { listChanges } from './changes.ts';
import { isGit, type Workspace } from './workspace.ts';

export interface CommitOptions {
  commit?: boolean;
  /** Commits on a new branch of this name. */
  branch?: string;
  push?: boolean;
}

export interface Committed {
  commit: string;
  branch: string;
  pushed: boolean;
}

export function wantsCommit({ commit, branch, push }: CommitOptions): boolean {
  return commit === true || branch !== undefined || push === true;
}

/**
 * Refuses to commit manifests that were rendered from what is not committed: every other change below infra would be
 * in them. Throws a failure that lists them.
 */
export async function requireCommittable(
  workspace: Workspace,
  own: readonly string[],
  { branch }: CommitOptions,
): Promise<void> {
  const { git, root } = workspace;
  if (!(await isGit(workspace)))
    throw new Failure(`${root} has no commit to build on`, 'git init, and a first commit.');
  const isOwn = (path: string) => own.some((mine) => path === mine || path.startsWith(`${mine}/`));
  const others = (await listChanges(workspace, ['infra'])).filter((path) => !isOwn(path));
  if (others.length > 0) {
    const named = others.slice(0, 5).join(', ') + (others.length > 5 ? ', ...' : '');
    throw new Failure(
      `infra has other changes that are not committed: ${named}`,
      'Commit or undo them first.',
    );
  }
  if (branch === undefined) return;
  await git.run('check-ref-format', '--branch', branch);
  const { code } = await git.attempt(['show-ref', '--verify', '--quiet', `refs/heads/${branch}`]);
  if (code === 0)
    throw new Failure(`the branch ${branch} is there already`, 'Choose another name with --branch.');
}

/** Commits these paths and nothing else that is staged; on a new branch, and pushed, where that is asked for. */
export async function commitPaths(
  { git }: Workspace,
  paths: readonly string[],
  { message, branch, push }: CommitOptions & { message: string },
): Promise<Committed> {
  if (branch !== undefined) await git.run('switch', '--quiet', '--create', branch);
  await git.run('add', '--all', '--', ...paths);
  await git.run('commit', '--quiet', '--message', message, '--', ...paths);
  const current = (await git.run('rev-parse', '--abbrev-ref', 'HEAD')).trim();
  const commit = (await git.run('rev-parse', 'HEAD')).trim();
  if (push) await pushBranch(git, current);
  return { commit, branch: current, pushed: push === true };
}

async function pushBranch(git: Workspace['git'], branch: string): Promise<void> {
  const { code } = await git.attempt(['rev-parse', '--abbrev-ref', '--symbolic-full-name', '@{upstream}']);
  const args = code === 0 ? [] : ['--set-upstream', 'origin', branch];
  const { code: pushed, stderr } = await git.attempt(['push', '--quiet', ...args]);
  if (pushed === 0) return;
  throw new Failure(
    `the commit is made, but git push failed: ${stderr.trim()}`,
    'git pull --rebase, then git push.',
  );
}
