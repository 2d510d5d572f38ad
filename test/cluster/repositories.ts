import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from './commands.ts';

/** A bare repository that Argo CD follows, and a clone of it in which the test works as a person would. */
export interface Repository {
  /** The clone's folder. */
  folder: string;
  /** As Argo CD reaches it. */
  url: string;
  branch: string;
  read(path: string): Promise<string>;
  /** Changes files (undefined: removes), renders the manifests, commits and pushes. Resolves to the commit. */
  commit(message: string, files: Record<string, string>): Promise<string>;
  /** As `git revert`. The manifests are part of what is reverted. */
  revert(commit: string): Promise<string>;
}

export interface RepositoryOptions {
  /** The work tree whose HEAD is cloned; its packages serve the clone. */
  source: string;
  /** Bare repositories lie here, as the git daemon serves them. */
  repos: string;
  folder: string;
  url: string;
  signal: AbortSignal;
}

const BRANCH = 'main';

export async function createRepository(options: RepositoryOptions): Promise<Repository> {
  const { source, repos, folder, url, signal } = options;
  const bare = join(repos, 'fededge.git');
  const git = async (...args: string[]) =>
    (await run('git', args, { cwd: folder, signal, env: ownGit })).trim();
  await mkdir(repos, { recursive: true });
  await run('git', ['clone', '-q', '--bare', '--no-hardlinks', source, bare], { signal, env: ownGit });
  await run('git', ['clone', '-q', bare, folder], { signal, env: ownGit });
  await git('checkout', '-q', '-B', BRANCH);
  await git('push', '-q', '-f', 'origin', BRANCH);
  await symlink(join(source, 'node_modules'), join(folder, 'node_modules'));
  const push = async () => {
    await git('push', '-q', 'origin', BRANCH);
    return git('rev-parse', 'HEAD');
  };
  return {
    folder,
    url,
    branch: BRANCH,
    read: (path) => readFile(join(folder, path), 'utf8'),
    async commit(message, files) {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), content);
      }
      await run(process.execPath, ['infra/main.ts'], { cwd: folder, signal });
      await git('add', '--all', '--', 'infra');
      await git('commit', '-q', '-m', message);
      return push();
    },
    async revert(commit) {
      await git('revert', '--no-edit', commit);
      return push();
    },
  };
}

/** Neither the person's own settings nor an identity that the machine may lack. */
const ownGit = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_AUTHOR_NAME: 'cluster test',
  GIT_AUTHOR_EMAIL: 'cluster-test@fededge.test',
  GIT_COMMITTER_NAME: 'cluster test',
  GIT_COMMITTER_EMAIL: 'cluster-test@fededge.test',
};
