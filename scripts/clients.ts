/**
 * Generates the calls and types of the TypeScript client from openapi/openapi.json.
 *
 *   node scripts/clients.ts           writes clients/typescript/generated
 *   node scripts/clients.ts --check   compares it with the committed files and exits 1 on a difference
 */
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createClient } from '@hey-api/openapi-ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const document = join(root, 'openapi', 'openapi.json');
const target = join(root, 'clients', 'typescript', 'generated');

/** Its own runtime, bundled beside the calls, is not written for `exactOptionalPropertyTypes`. */
const RUNTIME_FOLDERS = ['client', 'core'];
const UNCHECKED = '// @ts-nocheck\n';

async function generate(folder: string): Promise<void> {
  await createClient({
    input: document,
    output: { path: folder, module: { extension: '.ts' } },
    plugins: ['@hey-api/typescript', { name: '@hey-api/sdk', client: false }, '@hey-api/client-fetch'],
    logs: { level: 'silent', file: false },
  });
  for (const [name, text] of await readFolder(folder)) {
    if (!RUNTIME_FOLDERS.includes(name.split(sep)[0]!)) continue;
    await writeFile(join(folder, name), UNCHECKED + text);
  }
}

async function readFolder(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(
    files.sort().map(async (file) => [relative(folder, file), await readFile(file, 'utf8')] as const),
  );
  return new Map(texts);
}

function differences(written: Map<string, string>, wanted: Map<string, string>): string[] {
  const names = new Set([...written.keys(), ...wanted.keys()]);
  return [...names].filter((name) => written.get(name) !== wanted.get(name)).sort();
}

/** Beside the target, so that the finished folder only has to be renamed. */
async function writeGenerated(): Promise<void> {
  const fresh = `${target}.${process.pid}.new`;
  try {
    await generate(fresh);
    await rm(target, { recursive: true, force: true });
    await rename(fresh, target);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function checkGenerated(): Promise<void> {
  const fresh = await mkdtemp(join(tmpdir(), 'fededge-clients-'));
  try {
    await generate(fresh);
    const changed = differences(await readFolder(target), await readFolder(fresh));
    if (changed.length === 0) return;
    console.error(`clients/typescript/generated differs from the OpenAPI document: ${changed.join(', ')}`);
    console.error('run npm run clients and commit the result');
    process.exitCode = 1;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

await (process.argv.includes('--check') ? checkGenerated() : writeGenerated());
