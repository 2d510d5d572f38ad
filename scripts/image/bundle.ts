import { globSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { build, type Metafile } from 'esbuild';
import { applyPatches } from '../patches.mjs';
import { createAssets } from './assets.ts';
import { collectLicenses } from './licenses.ts';

/** Packages write CommonJS that asks for Node's own modules, which a module cannot. */
const REQUIRE = [
  "import { createRequire as __createRequire } from 'node:module';",
  "import { dirname as __directory } from 'node:path';",
  "import { fileURLToPath as __path } from 'node:url';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = __path(import.meta.url);',
  'const __dirname = __directory(__filename);',
].join('\n');

/** The package whose binaries are found by its name, also beside a bundle. */
const WASM_BACKEND = '@tensorflow/tfjs-backend-wasm';

/**
 * Puts what the image runs into `folder`: `fededge.js`, the threads and what they find at run time. It needs Node and
 * nothing else. The same source gives the same bytes. Returns what went into it.
 */
export async function bundle({ root, folder }: { root: string; folder: string }): Promise<Metafile> {
  applyPatches(join(root, 'node_modules'));
  const assets = createAssets(root);
  const threads = globSync('api/**/*-thread.ts', { cwd: root }).sort();
  await rm(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      { in: 'scripts/image/entry.ts', out: 'fededge' },
      ...threads.map((file) => ({ in: file, out: basename(file, '.ts') })),
    ],
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Names stay, so that stacks in a log tell where.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    banner: { js: REQUIRE },
    metafile: true,
    logLevel: 'warning',
    plugins: [assets.plugin],
  });
  for (const { source, name } of assets.found()) {
    if (!source.endsWith('.ts')) await place(source, join(folder, name));
    else if (!threads.includes(relative(root, source)))
      throw new Error(`${source} is started, but is no thread`);
  }
  await placeWasmBackend(folder);
  await writeFile(join(folder, 'licenses.txt'), await collectLicenses(root, metafile));
  return metafile;
}

async function place(source: string, target: string): Promise<void> {
  if (basename(source) !== 'package.json') return cp(source, target, { recursive: true });
  const { name, version, license } = JSON.parse(await readFile(source, 'utf8')) as Record<string, string>;
  await writeFile(target, `${JSON.stringify({ name, version, license, type: 'module' })}\n`);
}

async function placeWasmBackend(folder: string): Promise<void> {
  const from = dirname(createRequire(import.meta.url).resolve(WASM_BACKEND));
  const to = join(folder, 'node_modules', WASM_BACKEND);
  const binaries = ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm'];
  await mkdir(to, { recursive: true });
  for (const name of binaries) await cp(join(from, name), join(to, name));
  await writeFile(join(to, 'package.json'), `${JSON.stringify({ name: WASM_BACKEND, main: binaries[0] })}\n`);
}
