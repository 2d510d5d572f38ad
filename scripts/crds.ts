/**
 * The schemas that manifests are held against: those of the kinds' own projects, from their Go modules, as strict JSON
 * schemas for kubeconform. They go to ~/.cache/fededge/crds, once.
 *
 *   node scripts/crds.ts
 *
 * Beside `schemas` it leaves the CustomResourceDefinitions themselves in `definitions`, for clusters that should know the
 * kinds: kubectl apply --server-side -f.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { readModuleFiles } from './crds/download.ts';
import { pathTemplate, readDefinitions, readKubernetes } from './crds/schema-files.ts';
import { customResources, kubernetes } from './crds/sources.ts';

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fededge', 'crds');

/** What `prepareSchemas` leaves behind. */
export interface KindSchemas {
  /** For `kubeconform -schema-location`. */
  location: string;
  /** One JSON file for each CustomResourceDefinition. */
  definitions: string;
}

/** Makes the folder of these sources, unless it is there. Rejects where Go, or a module, is not to be had. */
export async function prepareSchemas(): Promise<KindSchemas> {
  const folder = join(cache, contentName());
  if (!existsSync(folder)) await fill(folder);
  return { location: join(folder, 'schemas', pathTemplate), definitions: join(folder, 'definitions') };
}

/** Other sources, or another way to read them, are another folder. */
function contentName(): string {
  const form = 3;
  return createHash('sha256')
    .update(JSON.stringify([form, kubernetes, customResources]))
    .digest('hex')
    .slice(0, 12);
}

/** Appears whole or not at all. */
async function fill(folder: string): Promise<void> {
  await mkdir(cache, { recursive: true });
  const draft = await mkdtemp(join(cache, 'draft-'));
  try {
    const [openApi] = await readModuleFiles(kubernetes.module, kubernetes.version, kubernetes.path);
    await save(join(draft, 'schemas'), readKubernetes(openApi!));
    for (const { module, version, path } of customResources) {
      for (const text of await readModuleFiles(module, version, path)) {
        const { schemas, definitions } = readDefinitions(text);
        await save(join(draft, 'schemas'), schemas);
        await save(join(draft, 'definitions'), definitions);
      }
    }
    await rename(draft, folder).catch((error) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function save(folder: string, files: ReadonlyMap<string, object>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), JSON.stringify(content));
  }
}

if (import.meta.main) console.log((await prepareSchemas()).location);
