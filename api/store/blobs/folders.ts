import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

const maxKnown = 10_000;

interface Sync {
  running: Promise<void>;
  next?: Promise<void>;
}

/** Makes and syncs folders, and remembers which are there. */
export function createFolders() {
  const known = new Set<string>();
  const syncs = new Map<string, Sync>();

  /** Makes `folder` durable with its parents. Known folders cost nothing. */
  async function prepare(folder: string): Promise<void> {
    if (known.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    if (first !== undefined) {
      for (let path = folder; path.length >= first.length; path = dirname(path))
        await syncOnce(dirname(path));
    }
    if (known.size >= maxKnown) known.clear();
    known.add(folder);
  }

  /** Makes the entries of `folder` durable as they are now; callers at one time share a sync. */
  function sync(folder: string): Promise<void> {
    const current = syncs.get(folder);
    if (!current) return begin(folder);
    // The running one may have passed our entry: all who come meanwhile wait for the one after it.
    const begun = () => begin(folder);
    current.next ??= current.running.then(begun, begun);
    return current.next;
  }

  function begin(folder: string): Promise<void> {
    const entry: Sync = { running: syncOnce(folder) };
    syncs.set(folder, entry);
    const clear = () => {
      if (!entry.next) syncs.delete(folder);
    };
    entry.running.then(clear, clear);
    return entry.running;
  }

  return { prepare, sync, forget: (folder: string) => known.delete(folder) };
}

export type Folders = ReturnType<typeof createFolders>;

async function syncOnce(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
