import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, listenWhileAlive } from './heartbeat-socket.ts';
import { hostIdentity, processIdentity } from './processes.ts';

// <dataDir>/owner/<generation>: the file with the highest number says who owns the folder. To take over is to
// link the next number, which succeeds for one process only; a generation, once there, is removed only when a
// higher one exists. So two take-overs of one stale owner cannot both win, and neither can delete the other.

interface OwnerRecord {
  pid: number;
  process: string;
  host: string;
  socket: string;
  startedAt: string;
  released?: true;
}

/** A data folder held by this process until `release()` or the end of the process. */
export interface Ownership {
  readonly dataDir: string;
  /** Idempotent. */
  release(): Promise<void>;
}

/** Another live process owns the data folder; nothing was changed in it. */
export class DataFolderInUseError extends Error {
  readonly code = 'data_folder_in_use';
  readonly pid: number;
  readonly dataDir: string;
  readonly startedAt: string;

  constructor(holder: { pid: number; dataDir: string; startedAt: string }) {
    super(
      `The data folder ${holder.dataDir} is in use by another FedEdge server: process ${holder.pid}, ` +
        `started ${holder.startedAt}. Stop it (kill ${holder.pid}) or choose another data folder.`,
    );
    this.name = 'DataFolderInUseError';
    this.pid = holder.pid;
    this.dataDir = holder.dataDir;
    this.startedAt = holder.startedAt;
  }
}

/**
 * Makes this process the only owner of `dataDir` (created if missing). An owner that was killed is taken over at
 * once; a live one throws DataFolderInUseError. The folder must not be shared between machines.
 */
export async function acquireOwnership(dataDir: string): Promise<Ownership> {
  const folder = join(dataDir, 'owner');
  await mkdir(folder, { recursive: true });
  const name = randomUUID();
  const socketName = `${name}.sock`;
  const record = await describeSelf(socketName);
  const socket = await listenWhileAlive(folder, socketName);
  const draft = join(folder, `${name}.draft`);
  try {
    for (;;) {
      const newest = await readNewest(folder);
      const holder = newest?.record;
      if (holder && (await isAlive(folder, holder))) throw new DataFolderInUseError({ ...holder, dataDir });
      const generation = (newest?.generation ?? 0) + 1;
      await writeFile(draft, JSON.stringify(record));
      if (!(await claim(folder, draft, generation))) continue;
      await removeOlder(folder, generation, holder?.socket);
      return { dataDir, release: releaser(folder, generation, record, socket) };
    }
  } catch (error) {
    await socket.close();
    await rm(draft, { force: true });
    throw error;
  }
}

async function describeSelf(socket: string): Promise<OwnerRecord> {
  const identity = await processIdentity(process.pid);
  if (identity === undefined) throw new Error('The start time of this process cannot be read');
  const startedAt = new Date().toISOString();
  return { pid: process.pid, process: identity, host: await hostIdentity(), socket, startedAt };
}

async function claim(folder: string, draft: string, generation: number): Promise<boolean> {
  const path = join(folder, String(generation));
  try {
    await link(draft, path);
  } catch (error) {
    // EEXIST: another take-over was faster. ENOENT: its winner cleared our draft away.
    if (['EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
  // A slow process may claim a number that was passed and cleared away meanwhile: then a higher one exists.
  if ((await listGenerations(folder)).every((other) => other <= generation)) return true;
  await rm(path, { force: true });
  return false;
}

async function listGenerations(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

async function readNewest(folder: string): Promise<{ generation: number; record?: OwnerRecord } | undefined> {
  for (;;) {
    const generations = await listGenerations(folder);
    if (generations.length === 0) return undefined;
    const generation = Math.max(...generations);
    try {
      const text = await readFile(join(folder, String(generation)), 'utf8');
      return { generation, ...parseRecord(text) };
    } catch (error) {
      // Removed since it was listed: a newer one is there.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** A record is published whole, so a torn one is what a power loss left: nobody's. */
function parseRecord(text: string): { record?: OwnerRecord } {
  try {
    return { record: JSON.parse(text) as OwnerRecord };
  } catch {
    return {};
  }
}

async function isAlive(folder: string, holder: OwnerRecord): Promise<boolean> {
  if (holder.released) return false;
  if (holder.host !== (await hostIdentity())) return await answers(folder, holder.socket);
  return (await processIdentity(holder.pid)) === holder.process;
}

async function removeOlder(folder: string, generation: number, socket: string | undefined): Promise<void> {
  const names = await readdir(folder);
  // Another contender's draft may go with them (it will see us and give up), its socket may not.
  const older = names.filter((name) =>
    /^\d+$/.test(name) ? Number(name) < generation : name.endsWith('.draft'),
  );
  const stale = socket && /^[\w-]+\.sock$/.test(socket) ? [socket] : [];
  await Promise.all([...older, ...stale].map((name) => rm(join(folder, name), { force: true })));
}

function releaser(
  folder: string,
  generation: number,
  record: OwnerRecord,
  socket: { close(): Promise<void> },
) {
  let released: Promise<void> | undefined;
  const release = async () => {
    // The generation stays, marked: removing it would let numbers start again under a slow contender.
    const draft = join(folder, `${randomUUID()}.draft`);
    await writeFile(draft, JSON.stringify({ ...record, released: true }));
    await rename(draft, join(folder, String(generation)));
    await socket.close();
    await rm(join(folder, record.socket), { force: true });
  };
  return () => {
    released ??= release();
    return released;
  };
}
