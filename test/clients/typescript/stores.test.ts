import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AgentStore, createMemoryStore } from '../../../clients/typescript/index.ts';
import { createFileStore } from '../../../clients/typescript/store/file-store.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-store-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const bytes = (...values: number[]) => new Uint8Array(values);

describe.each(['memory', 'files'])('%s', (kind) => {
  let store: AgentStore;
  beforeEach(async () => {
    store = kind === 'memory' ? createMemoryStore() : await createFileStore(folder);
  });

  test('gives back what was written last', async () => {
    await store.write('a', bytes(1, 2));
    await store.write('a', bytes(3));
    expect(new Uint8Array((await store.read('a'))!)).toEqual(bytes(3));
    const blob = await store.open('a');
    expect(new Uint8Array(await blob!.arrayBuffer())).toEqual(bytes(3));
    expect(await store.list()).toEqual(['a']);
  });

  test('keeps its own copy of what it was given and what it gives', async () => {
    const given = bytes(1);
    await store.write('a', given);
    given[0] = 9;
    (await store.read('a'))![0] = 8;
    expect(new Uint8Array((await store.read('a'))!)).toEqual(bytes(1));
  });

  test('appends to what is there, or begins it', async () => {
    await store.append('a', bytes(1, 2));
    await store.append('a', bytes(3));
    expect(new Uint8Array((await store.read('a'))!)).toEqual(bytes(1, 2, 3));
  });

  test('has nothing of what was never written or was removed', async () => {
    await store.write('a', bytes(1));
    await store.remove('a');
    await store.remove('a');
    expect([await store.read('a'), await store.open('a'), await store.list()]).toEqual([
      undefined,
      undefined,
      [],
    ]);
  });
});

test('files are for their owner alone, whatever the folder above allows', async () => {
  await chmod(folder, 0o755);
  const own = join(folder, 'own');
  const store = await createFileStore(own);
  await store.write('key', bytes(1));
  await store.append('part', bytes(1));
  const modes = await Promise.all(
    [own, join(own, 'key'), join(own, 'part')].map(async (path) => (await stat(path)).mode & 0o777),
  );
  expect(modes).toEqual([0o700, 0o600, 0o600]);
});

test.each(['../out', 'update-../../out', 'a/b', '.hidden', '', 'a\0b'])('%j is no name', async (name) => {
  const store = await createFileStore(join(folder, 'own'));
  await expect(store.write(name, bytes(1))).rejects.toThrow('no name');
  await expect(store.append(name, bytes(1))).rejects.toThrow('no name');
  await expect(store.read(name)).rejects.toThrow('no name');
  await expect(store.remove(name)).rejects.toThrow('no name');
  expect(await readdir(folder, { recursive: true })).toEqual(['own']);
});

test('what a crash left half written is neither listed nor in the way', async () => {
  const store = await createFileStore(folder);
  await writeFile(join(folder, 'key.tmp'), 'half');
  expect(await store.list()).toEqual([]);
  await store.write('key', bytes(1));
  expect(await readdir(folder)).toEqual(['key']);
});
