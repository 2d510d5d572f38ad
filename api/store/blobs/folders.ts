import { existsSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMissing } from './file-outages.ts';
import { shareRuns } from './shared-runs.ts';

const maxKnown = 10_000;
/** A folder that is synced again so soon need not be opened again. */
const LINGER_MS = 1000;
const MAX_ATTEMPTS = 3;

/** Makes and syncs folders, and remembers which are there. Nobody removes those directly below `dir`. */
export function createFolders(dir: string) {
  const known = new Set<string>();
  const making = new Map<string, Promise<void>>();
  const syncs = new Map<string, () => Promise<void>>();
  const opened = new Map<string, ReturnType<typeof keepOpen>>();

  /** Makes `folder` durable with its parents. Known folders cost nothing; callers at one time wait for the same. */
  async function prepare(folder: string): Promise<void> {
    if (known.has(folder)) return;
    const made = making.get(folder) ?? make(folder).finally(() => making.delete(folder));
    making.set(folder, made);
    await made;
  }

  async function make(folder: string): Promise<void> {
    const first = await mkdir(folder, { recursive: true });
    if (first !== undefined) {
      for (let path = folder; path.length >= first.length; path = dirname(path))
        await syncOnce(dirname(path));
    }
    if (known.size >= maxKnown) known.clear();
    known.add(folder);
  }

  /**
   * Does `work`, which needs `folder`: a known one may be gone, since a deletion found it empty or somebody tidied up. Not
   * where all of `dir` has gone: its volume is away, and what was made in its place would be lost.
   */
  async function within<T>(folder: string, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      await prepare(folder);
      try {
        return await work();
      } catch (error) {
        if (!isMissing(error) || attempt === MAX_ATTEMPTS || !existsSync(dir)) throw error;
        forget(folder);
      }
    }
  }

  /** Makes the entries of `folder` durable as they are now; callers at one time share a sync. */
  function sync(folder: string): Promise<void> {
    const once = () => (dirname(folder) === dir ? syncLasting(folder) : syncOnce(folder));
    const shared = syncs.get(folder) ?? shareRuns(once);
    if (!syncs.has(folder) && syncs.size >= maxKnown) syncs.clear();
    syncs.set(folder, shared);
    return shared();
  }

  async function syncLasting(folder: string): Promise<void> {
    const kept = opened.get(folder) ?? keepOpen(folder, () => opened.delete(folder));
    opened.set(folder, kept);
    try {
      await kept.sync();
    } catch (error) {
      kept.close();
      throw error;
    }
  }

  function forget(folder: string): void {
    known.delete(folder);
    opened.get(folder)?.close();
  }

  return { within, sync, forget };
}

export type Folders = ReturnType<typeof createFolders>;

/** An open folder, until it was not synced for a while. */
function keepOpen(folder: string, onClose: () => void) {
  const opening = open(folder, 'r');
  const timer = setTimeout(close, LINGER_MS).unref();
  let running: Promise<unknown> = opening;

  function sync(): Promise<void> {
    timer.refresh();
    const synced = opening.then((handle) => handle.sync());
    running = Promise.allSettled([running, synced]);
    return synced;
  }

  function close(): void {
    clearTimeout(timer);
    onClose();
    // Not under a sync: the descriptor's number could be another file's by then.
    const end = () => opening.then((handle) => handle.close());
    void running.then(end, end).catch(() => {});
  }

  return { sync, close };
}

async function syncOnce(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
