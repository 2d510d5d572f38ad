import { appendFile, mkdtemp, readdir, readlink, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { STRIDE_BYTES } from '../../api/kernels/folds/fold-files.ts';
import { createFoldThread, type FoldThread, type Segment } from '../../api/kernels/folds/folds.ts';
import { createSeal } from '../../api/kernels/seals.ts';
import { makeValues } from './arbitraries.ts';

const LENGTH = 2_500_003;
const range = { start: 0, length: LENGTH };
/** Of odd length: elements lie across the windows' borders. */
const head = Buffer.from('a head of 13.');
const file = Buffer.concat([head, makeValues('F32', LENGTH, 5).bytes]);
const segments: Segment[] = [{ fileStart: 13, fileEnd: file.length, flatStart: 0, dtype: 'F32' }];
const other = Buffer.concat([head, makeValues('F32', LENGTH, 6).bytes]);

let thread: FoldThread;
let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-fold-'));
  path = join(folder, 'update');
});
beforeEach(async () => {
  thread = createFoldThread();
  await thread.begin('fold', { strategy: 'fedavg', parameters: {}, range });
});
afterEach(async () => {
  expect(await openFiles()).toEqual([]);
  await thread.close();
});
afterAll(() => rm(folder, { recursive: true }));

/** What this process still has open of the folder. */
async function openFiles(): Promise<string[]> {
  const names = await readdir('/proc/self/fd').catch(() => []);
  const paths = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return paths.filter((each) => each.startsWith(folder));
}

function sealOf(bytes: Uint8Array): string {
  const sealer = createSeal();
  sealer.push(bytes);
  return sealer.close();
}

/** The file's chunks, and where it lies; who asks for chunks although there is a file is told so. */
function sourceOf(chunks: readonly Uint8Array[] | undefined, at?: string) {
  async function* given(): AsyncGenerator<Uint8Array> {
    if (!chunks) throw new Error('the chunks were asked for');
    yield* chunks;
  }
  return Object.assign(given(), at === undefined ? {} : { path: at });
}

function add(source: ReturnType<typeof sourceOf>, more: { keep?: () => Promise<void>; bytes?: number } = {}) {
  const update = {
    weight: 7,
    segments,
    head: file.subarray(0, 8),
    seal: sealOf(file),
    bytes: file.length,
    source,
  };
  return thread.add('fold', { ...update, ...more });
}

async function saved(): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of thread.save('fold')) parts.push(chunk.slice());
  return Buffer.concat(parts);
}

describe('a file', () => {
  test('that the thread reads itself folds to the bits of its chunks', async () => {
    await writeFile(path, file);
    expect(await add(sourceOf(undefined, path))).toEqual({ isIntact: true, bytes: file.length });
    const accumulator = await saved();
    await thread.release('fold');
    await thread.begin('fold', { strategy: 'fedavg', parameters: {}, range });
    expect(await add(sourceOf([file]))).toEqual({ isIntact: true, bytes: file.length });
    expect(Buffer.compare(accumulator, await saved())).toBe(0);
  });

  test('that cannot be opened is taken from its chunks', async () => {
    await writeFile(path, file);
    const missing = join(folder, 'missing');
    expect(await add(sourceOf([file], missing))).toEqual({ isIntact: true, bytes: file.length });
    await expect(add(sourceOf(undefined, missing))).rejects.toThrow('the chunks were asked for');
  });

  test.each<[string, () => Promise<void>, number]>([
    ['is cut short', () => truncate(path, 5_000_000), 5_000_000],
    ['is cut at the end of a stride', () => truncate(path, STRIDE_BYTES), STRIDE_BYTES],
    ['is empty', () => truncate(path, 0), 0],
    ['goes on', () => appendFile(path, Buffer.of(0)), file.length + 1],
    ['is another', () => writeFile(path, other), file.length],
  ])('that %s is told', async (_name, damage, bytes) => {
    await writeFile(path, file);
    await damage();
    expect(await add(sourceOf(undefined, path))).toEqual({ isIntact: false, bytes });
  });

  test('of whole strides is told from one that goes on', async () => {
    const whole = file.subarray(0, 2 * STRIDE_BYTES);
    const update = { weight: 1, head: whole.subarray(0, 8), seal: sealOf(whole), bytes: whole.length };
    const part = [{ ...segments[0]!, fileStart: 0, fileEnd: whole.length }];
    for (const [length, isIntact] of [
      [whole.length, true],
      [whole.length + 1, false],
    ] as const) {
      await writeFile(path, file.subarray(0, length));
      const fold = `of ${length}`;
      const own = { start: 0, length: whole.length / 4 };
      await thread.begin(fold, { strategy: 'fedavg', parameters: {}, range: own });
      const added = thread.add(fold, { ...update, segments: part, source: sourceOf(undefined, path) });
      expect(await added).toEqual({ isIntact, bytes: length });
    }
  });
});

describe('while a file is read', () => {
  const isLost = () => expect(add(sourceOf([file]))).rejects.toHaveProperty('name', 'FoldLostError');

  test('the caller is asked to keep the fold, and may end it', async () => {
    await writeFile(path, file);
    const count = vi.fn(async () => {});
    await add(sourceOf(undefined, path), { keep: count });
    expect(count).toHaveBeenCalledTimes(Math.floor(file.length / STRIDE_BYTES));
    const keep = () => Promise.reject(new Error('the lease is lost'));
    await expect(add(sourceOf(undefined, path), { keep })).rejects.toThrow('the lease is lost');
    await isLost();
  });

  test('a failure of the system loses the fold', async () => {
    // A folder can be opened, not read.
    const failed = add(sourceOf([file], folder));
    await expect(failed).rejects.toMatchObject({ name: 'FoldSourceError', message: /EISDIR/ });
    await isLost();
  });

  test.each([
    ['before what was read', 1000],
    ['behind what was read', STRIDE_BYTES * 2 + 1],
    ['where the reading stands', STRIDE_BYTES * 2],
  ])('an end that comes %s loses the fold, and is no damage', async (_name, length) => {
    await writeFile(path, file);
    const keep = vi.fn(() => truncate(path, length));
    const failed = add(sourceOf([file], path), { keep });
    await expect(failed).rejects.toMatchObject({
      name: 'FoldSourceError',
      message: expect.stringMatching(`^a file of ${file.length} bytes ended at byte `),
    });
    await isLost();
  });

  test('a release ends the call and closes the file', async () => {
    await writeFile(path, file);
    const adding = add(sourceOf(undefined, path), { bytes: 400 * STRIDE_BYTES });
    const [released, added] = await Promise.allSettled([thread.release('fold'), adding]);
    expect(released.status).toBe('fulfilled');
    expect(added).toMatchObject({ status: 'rejected', reason: { name: 'FoldLostError' } });
  });

  test('other folds go on', async () => {
    await writeFile(path, file);
    await thread.begin('second', { strategy: 'fedavg', parameters: {}, range });
    const update = { weight: 7, segments, head: file.subarray(0, 8), seal: sealOf(file), bytes: file.length };
    const [first, second] = await Promise.all([
      add(sourceOf(undefined, path)),
      thread.add('second', { ...update, source: sourceOf([file.subarray(0, 99), file.subarray(99)]) }),
    ]);
    expect([first.isIntact, second.isIntact]).toEqual([true, true]);
    const expected = await saved();
    const parts: Uint8Array[] = [];
    for await (const chunk of thread.save('second')) parts.push(chunk.slice());
    expect(Buffer.compare(Buffer.concat(parts), expected)).toBe(0);
  });
});
