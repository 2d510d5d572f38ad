import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Named, readCatalogFolder } from './catalog/catalog-files.ts';
import type { Settings } from './settings.ts';

/** `version.json`: promotion copies this file. */
export interface Version {
  image: string;
  tag: string;
  /** `sha256:...`. Demanded outside dev. */
  digest?: string;
}

/** One folder of infra/environments, read. */
export interface Environment {
  name: string;
  settings: Settings;
  version: Version;
  /** Release files, as written, in the order of their names. */
  models: readonly Named[];
  /** Run files, as written, in the order of their names. */
  runs: readonly Named[];
}

const folder = join(import.meta.dirname, 'environments');

/** Names of the environments, sorted. */
export async function listEnvironments(): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

/** Rejects with the file's name if one of its files is not valid. */
export async function loadEnvironment(name: string): Promise<Environment> {
  const path = join(folder, name);
  const [{ settings }, version, models, runs] = await Promise.all([
    import(pathToFileURL(join(path, 'settings.ts')).href) as Promise<{ settings: Settings }>,
    readFile(join(path, 'version.json'), 'utf8').then((text) => JSON.parse(text) as Version),
    readCatalogFolder(join(path, 'models'), 'release'),
    readCatalogFolder(join(path, 'runs'), 'run'),
  ]);
  return { name, settings, version, models, runs };
}
