import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { encodeExamples } from '../../../../clients/typescript/operator/evaluation-file.ts';
import { openExampleFolder } from '../../../../clients/typescript/program/example-folder.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-examples-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Row r holds 2r and 2r + 1, and is labelled r. */
function rows(count: number) {
  const values = Float32Array.from({ length: 2 * count }, (_, i) => i);
  const y = Uint8Array.from({ length: count }, (_, i) => i);
  return encodeExamples({ x: { shape: [count, 2], values }, y });
}

const all = { index: 0, count: 1 };

it('names the models that it has files for', async () => {
  const examples = openExampleFolder(folder, all);
  expect(await examples.models()).toEqual([]);
  await writeFile(join(folder, 'b.safetensors'), rows(1));
  await writeFile(join(folder, 'a.safetensors'), rows(2));
  await writeFile(join(folder, 'notes.txt'), '');
  expect(await examples.models()).toEqual(['a', 'b']);
  expect(await examples.count()).toBe(3);
  expect(await openExampleFolder(join(folder, 'absent'), all).models()).toEqual([]);
});

it('gives every example to exactly one shard', async () => {
  await writeFile(join(folder, 'm.safetensors'), rows(7));
  const shards = [0, 1, 2].map((index) => openExampleFolder(folder, { index, count: 3 }));
  const loaded = await Promise.all(shards.map((shard) => shard.load('m')));
  expect(loaded.map((examples) => [...examples!.y])).toEqual([
    [0, 3, 6],
    [1, 4],
    [2, 5],
  ]);
  expect(loaded[1]!.x).toMatchObject({ shape: [2, 2], dtype: 'F32', values: Float32Array.of(2, 3, 8, 9) });
  expect(await Promise.all(shards.map((shard) => shard.count()))).toEqual([3, 2, 2]);
});

it('leaves a shard empty where there are fewer examples than shards', async () => {
  await writeFile(join(folder, 'm.safetensors'), rows(1));
  const shard = openExampleFolder(folder, { index: 2, count: 3 });
  expect((await shard.load('m'))!.y).toHaveLength(0);
  expect(await shard.count()).toBe(0);
});

it('reads a file again when it has changed, and only then', async () => {
  const examples = openExampleFolder(folder, all);
  expect(await examples.load('m')).toBeUndefined();
  await writeFile(join(folder, 'm.safetensors'), rows(2));
  const first = await examples.load('m');
  expect(await examples.load('m')).toBe(first);
  await writeFile(join(folder, 'm.safetensors'), rows(5));
  expect((await examples.load('m'))!.y).toHaveLength(5);
});

it('says what is wrong with a file', async () => {
  await writeFile(join(folder, 'm.safetensors'), 'no tensors');
  const examples = openExampleFolder(folder, all);
  await expect(examples.load('m')).rejects.toThrow('the examples are not readable');
  expect(await examples.count()).toBe(0);
});
