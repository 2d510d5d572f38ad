import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The YAML or JSON files of a Go module's folder (or the one file), from Go's module cache, where Go's own client puts
 * them. Rejects with Go's words.
 */
export async function readModuleFiles(module: string, version: string, path: string): Promise<string[]> {
  const target = join(await downloadModule(`${module}@${version}`), path);
  if ((await stat(target)).isFile()) return [await readFile(target, 'utf8')];
  const files = (await readdir(target)).filter((name) => /\.(yaml|json)$/.test(name)).sort();
  return Promise.all(files.map((name) => readFile(join(target, name), 'utf8')));
}

async function downloadModule(name: string): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', name], {
    // Outside any module of Go's: nothing else decides versions.
    cwd: tmpdir(),
    maxBuffer: 1e7,
  }).catch((error: { stdout?: string; message: string }) => {
    throw new Error(readError(error.stdout) ?? error.message);
  });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

function readError(stdout: string | undefined): string | undefined {
  try {
    return (JSON.parse(stdout ?? '') as { Error?: string }).Error;
  } catch {
    return undefined;
  }
}
