import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Manifests } from './manifest-text.ts';

/** Makes the folder (of one environment, if it is named) what `manifests` says: files of earlier times go. */
export async function writeManifests(
  folder: string,
  manifests: Manifests,
  environment?: string,
): Promise<void> {
  const stale = (await listFiles(join(folder, environment ?? ''), folder)).filter(
    (path) => !manifests.has(path),
  );
  await Promise.all(stale.map((path) => rm(join(folder, path))));
  for (const [path, text] of manifests) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

/** Paths that are missing, differ, or should not be there; sorted. */
export async function findDrift(
  folder: string,
  manifests: Manifests,
  environment?: string,
): Promise<string[]> {
  const there = await listFiles(join(folder, environment ?? ''), folder);
  const paths = [...new Set([...there, ...manifests.keys()])].sort();
  const differs = await Promise.all(
    paths.map(async (path) => {
      const text = await readFile(join(folder, path), 'utf8').catch(() => undefined);
      return text !== manifests.get(path);
    }),
  );
  return paths.filter((_, index) => differs[index]);
}

async function listFiles(folder: string, base: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(base, join(entry.parentPath, entry.name)))
    .sort();
}
