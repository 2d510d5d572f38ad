import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { run } from './commands.ts';
import { scripts } from './places.ts';

/** A folder for all that a run of the test leaves on the machine: its processes, mounts and files. */
export interface StateFolder {
  path: string;
  /** Ends the processes, unmounts, and removes all but the logs. */
  clear(): Promise<void>;
}

/**
 * The same folder for every run, so that the next one can clear up what a killed one has left. Undefined: another run is
 * under way.
 */
export async function claimStateFolder(): Promise<StateFolder | { heldBy: number }> {
  const path = `/tmp/fededge-cluster-${userInfo().uid}`;
  const holder = join(path, 'holder');
  await mkdir(path, { recursive: true, mode: 0o755 });
  const held = await readHolder(holder);
  if (held) return { heldBy: held };
  await takeDown(path);
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { mode: 0o755 });
  await writeFile(holder, `${process.pid} ${await beganAt(process.pid)}`, { flag: 'wx' });
  const clear = async () => {
    await takeDown(path);
    for (const name of TEMPORARY) await rm(join(path, name), { recursive: true, force: true });
    await rm(holder, { force: true });
  };
  return { path, clear };
}

const TEMPORARY = [
  'argo',
  'clone',
  'cni',
  'containerd',
  'data',
  'database',
  'etcd',
  'image.tar',
  'kubelet',
  'pid',
  'repos',
];

async function takeDown(path: string): Promise<void> {
  await run('bash', [join(scripts, 'down.sh'), path], { timeoutMs: 120_000 });
  const mounts = await readFile('/proc/mounts', 'utf8');
  if (mounts.includes(` ${path}/`)) throw new Error(`${path} still has mounts: see /proc/mounts`);
}

async function readHolder(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const [pid, began] = text.split(' ');
  return pid && began === (await beganAt(Number(pid))) ? Number(pid) : undefined;
}

/** When a process began, in ticks since boot: with its id, who it is. */
async function beganAt(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.split(') ').at(-1)?.split(' ')[19] ?? '';
}
