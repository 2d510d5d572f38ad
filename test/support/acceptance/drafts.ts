import { readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** A blob's draft that is older was left by a writer that died: a sweep takes it away. */
const DRAFT_LIMIT_MS = 3_600_000;

/** Drafts of blobs that are being written, or whose writer died; what came in one go has none. */
async function listDrafts(dataDir: string): Promise<string[]> {
  const folder = join(dataDir, 'blobs', '.tmp');
  return (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
}

/** Updates under their own names, also those whose writer died. */
export function listUpdateFiles(dataDir: string): Promise<string[]> {
  return readdir(join(dataDir, 'blobs', 'update')).catch(() => []);
}

/** Makes what dead writers left look old, so that the next sweep has to take it; what a living one has may go meanwhile. */
export async function ageDrafts(dataDir: string): Promise<string[]> {
  const before = new Date(Date.now() - 2 * DRAFT_LIMIT_MS);
  const drafts = await listDrafts(dataDir);
  for (const path of drafts) await utimes(path, before, before).catch(() => undefined);
  return drafts;
}

/** Drafts that should be gone. */
export async function listOldDrafts(dataDir: string): Promise<string[]> {
  const drafts = await listDrafts(dataDir);
  const ages = await Promise.all(
    drafts.map((path) =>
      stat(path).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
      ),
    ),
  );
  return drafts.filter((_, index) => ages[index]! > DRAFT_LIMIT_MS);
}
