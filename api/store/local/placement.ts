import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { stopRunning } from './postmaster.ts';
import { isReachable, type SystemUser } from './reach.ts';

/** Where the embedded database lives, and as whom it runs (undefined: as this process' own user). */
export interface Placement {
  /** Holds `data` (made by the first start), copied binaries and the marker of a finished first start. */
  home: string;
  data: string;
  user?: SystemUser;
}

const nobody: SystemUser = { uid: 65534, gid: 65534 };
const sharedHomes = '/var/lib/fededge';
const idFile = 'database-id';

/**
 * Decides once for each data folder: inside it, or, when we are root and the user that PostgreSQL has to run as
 * cannot reach it, under /var/lib/fededge by an id that is kept in the data folder. The caller owns `dataDir`.
 */
export async function placeDatabase(dataDir: string): Promise<Placement> {
  const isRoot = process.geteuid?.() === 0;
  const id = await readId(dataDir);
  if (id && !isRoot) throw new Error(`The database of ${dataDir} was created by root: start FedEdge as root`);
  const inside = join(dataDir, 'database');
  const owner = await ownerOf(join(inside, 'data'));
  if (!isRoot) {
    if (owner && owner.uid !== process.geteuid?.()) {
      throw new Error(
        `The database in ${inside} belongs to user id ${owner.uid}: start FedEdge as that user or as root`,
      );
    }
    return await makeHome(inside);
  }
  if (owner && owner.uid !== 0) return await makeHome(inside, owner);
  if (id) return await makeHome(join(sharedHomes, id), nobody);
  if (await isReachable(dataDir, nobody)) return await makeHome(inside, nobody);
  return await makeHome(await newSharedHome(dataDir), nobody);
}

async function readId(dataDir: string): Promise<string | undefined> {
  const id = (await readFile(join(dataDir, idFile), 'utf8').catch(() => '')).trim();
  return /^[0-9a-f]{16}$/.test(id) ? id : undefined;
}

async function ownerOf(path: string): Promise<SystemUser | undefined> {
  return await stat(path).catch(() => undefined);
}

async function makeHome(home: string, user?: SystemUser): Promise<Placement> {
  const data = join(home, 'data');
  await mkdir(home, { recursive: true });
  // Whatever the umask: another user's server has to pass through.
  await chmod(home, user ? 0o755 : 0o700);
  return { home, data, ...(user && { user }) };
}

async function newSharedHome(dataDir: string): Promise<string> {
  await removeAbandoned();
  const id = randomBytes(8).toString('hex');
  const home = join(sharedHomes, id);
  await mkdir(home, { recursive: true });
  await chmod(sharedHomes, 0o755);
  await writeFile(join(home, 'data-folder'), await realpath(dataDir));
  const draft = join(dataDir, `${idFile}.draft`);
  await writeFile(draft, id, { flush: true });
  await rename(draft, join(dataDir, idFile));
  return home;
}

/** Databases whose data folders were temporary and are gone. Any other missing folder may be an unmounted disk. */
async function removeAbandoned(): Promise<void> {
  const ids = await readdir(sharedHomes).catch(() => []);
  const temporary = [await realpath(tmpdir()), '/tmp'];
  for (const id of ids) {
    const home = join(sharedHomes, id);
    const dataDir = await readFile(join(home, 'data-folder'), 'utf8').catch(() => '');
    if (!temporary.some((folder) => dataDir.startsWith(folder + sep))) continue;
    if (await ownerOf(dataDir)) continue;
    await stopRunning(join(home, 'data'));
    await rm(home, { recursive: true, force: true });
  }
}
