import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { applyPatches, isPatched } from '../../scripts/patches.mjs';

const installed = fileURLToPath(new URL('../../node_modules/postgres', import.meta.url));
let modules: string;

beforeEach(async () => {
  modules = await mkdtemp(join(tmpdir(), 'fededge-patches-'));
  await cp(installed, join(modules, 'postgres'), { recursive: true });
});

afterEach(() => rm(modules, { recursive: true, force: true }));

it('finds the installed packages mended', () => {
  expect(isPatched(modules)).toBe(true);
});

it('makes an edit that is not there, once', async () => {
  const file = join(modules, 'postgres/src/connection.js');
  const text = await readFile(file, 'utf8');
  const start = text.indexOf('    if (!socket) {\n      nextWriteTimer');
  const end = text.indexOf('    const x = socket.write', start);
  await writeFile(file, text.slice(0, start) + text.slice(end));
  expect(isPatched(modules)).toBe(false);
  for (let time = 0; time < 2; time += 1) applyPatches(modules);
  expect(await readFile(file, 'utf8')).toBe(text);
});

it('refuses a package whose text is another one', async () => {
  await writeFile(join(modules, 'postgres/src/connection.js'), 'rewritten');
  expect(() => applyPatches(modules)).toThrow(/connection\.js has changed/);
});

it('leaves a package alone that is not installed', async () => {
  await rm(join(modules, 'postgres'), { recursive: true });
  applyPatches(modules);
  expect(isPatched(modules)).toBe(true);
});
