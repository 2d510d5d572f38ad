/**
 * Builds api/kernels/kernels.wasm from its AssemblyScript source.
 *
 *   node scripts/kernels.ts           writes the file
 *   node scripts/kernels.ts --check   compares it with the committed one and exits 1 on a difference
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = fileURLToPath(new URL('../api/kernels/kernels.wasm', import.meta.url));
const source = 'api/kernels/assembly/index.ts';

/** Twelve pages hold the window and the staging areas; the memory grows up to 4 GiB. */
const options = ['-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd'];
const memory = ['--initialMemory', '12', '--maximumMemory', '65536'];

async function compile(): Promise<Uint8Array> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main([source, ...options, ...memory, '--outFile', 'kernels.wasm'], {
    readFile: (name, baseDirectory) => readText(`${baseDirectory}/${name}`),
    writeFile: (_name, contents) => {
      if (typeof contents !== 'string') binary = contents;
    },
    listFiles: () => null,
  });
  if (error || !binary) throw new Error(`asc failed: ${error?.message}\n${stderr.toString()}`);
  return binary;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

process.chdir(root);
const binary = await compile();
const name = relative(root, built);
if (!process.argv.includes('--check')) {
  writeFileSync(built, binary);
  console.log(`${name}: ${binary.length} bytes`);
} else if (Buffer.compare(binary, readFileSync(built)) !== 0) {
  console.error(`${name} differs from its source: run node scripts/kernels.ts and commit the result`);
  process.exitCode = 1;
} else {
  console.log(`${name} matches its source`);
}
