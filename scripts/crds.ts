/**
 * The schemas that manifests are held against: those of the kinds' own projects, from their Go modules, as strict JSON
 * schemas for kubeconform (~/.cache/fededge/kind-schemas), made once. Beside them it leaves the CustomResourceDefinitions
 * themselves (~/.cache/fededge/crds), for a cluster that should know the kinds.
 *
 *   node scripts/crds.ts
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { readModuleFiles } from './crds/download.ts';
import { pathTemplate, readDefinitions, readKubernetes } from './crds/schema-files.ts';
import { customResources, kubernetes } from './crds/sources.ts';

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fededge');

/**
 * Makes the schemas of these sources, unless they are there. Resolves to what `kubeconform -schema-location` takes; rejects
 * where Go, or a module, is not to be had.
 */
export async function prepareSchemas(): Promise<string> {
  const folder = join(cache, 'kind-schemas', contentName());
  if (!existsSync(folder)) await fill(folder);
  return join(folder, pathTemplate);
}

/** Other sources, or another way to read them, are another folder. */
function contentName(): string {
  const form = 4;
  return createHash('sha256')
    .update(JSON.stringify([form, kubernetes, customResources]))
    .digest('hex')
    .slice(0, 12);
}

/** The schemas come last, and appear whole. */
async function fill(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const draft = await mkdtemp(join(cache, 'kinds-'));
  const parts = { schemas: join(draft, 'schemas'), definitions: join(draft, 'definitions') };
  try {
    const [openApi] = await readModuleFiles(kubernetes.module, kubernetes.version, kubernetes.path);
    await save(parts.schemas, readKubernetes(openApi!));
    for (const { module, version, path } of customResources) {
      for (const text of await readModuleFiles(module, version, path)) {
        const { schemas, definitions } = readDefinitions(text);
        await save(parts.schemas, schemas);
        await save(parts.definitions, definitions);
      }
    }
    await rm(join(cache, 'crds'), { recursive: true, force: true });
    await rename(parts.definitions, join(cache, 'crds'));
    await rename(parts.schemas, folder).catch((error) => {
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

if (import.meta.main) console.log(await prepareSchemas());
