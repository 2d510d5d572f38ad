import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { type BlobStore, BlobUnavailableError, maxChunkBytes } from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { createSharedChunks } from '../../../api/store/blobs/shared-chunks.ts';
import { get, put } from '../../support/blobs.ts';

describe('shared chunks', () => {
  const filling = (value: number) => async (buffer: Uint8Array) => buffer.fill(value, 0, 4) && 4;
  const never = () => Promise.reject(new Error('it was there already'));

  it('are read once for all who ask, and stay for a while', async () => {
    const chunks = createSharedChunks();
    const first = chunks.take('a', filling(1));
    const second = chunks.take('a', never);
    expect(second).toBe(first);
    expect(await second.filled).toBe(4);
    chunks.give(first);
    chunks.give(second);
    const third = chunks.take('a', never);
    expect(third.buffer.subarray(0, await third.filled)).toEqual(Uint8Array.of(1, 1, 1, 1));
    chunks.give(third);
  });

  it('make room for others, those first that were given back longest ago', async () => {
    const chunks = createSharedChunks();
    const names = Array.from({ length: 9 }, (_, i) => `chunk ${i}`);
    for (const name of names) chunks.give(chunks.take(name, filling(2)));
    const anew: string[] = [];
    for (const name of names.toReversed()) {
      chunks.take(name, async () => anew.push(name));
    }
    expect(anew).toEqual(['chunk 0']);
  });

  it('are not touched while somebody reads them', async () => {
    const chunks = createSharedChunks();
    const held = chunks.take('held', filling(3));
    await held.filled;
    for (let i = 0; i < 40; i += 1) {
      const other = chunks.take(`other ${i}`, filling(4));
      await other.filled;
      chunks.give(other);
    }
    expect(held.buffer.subarray(0, 4)).toEqual(Uint8Array.of(3, 3, 3, 3));
    expect(chunks.take('held', never)).toBe(held);
  });

  it('that could not be read are read anew by the next', async () => {
    const chunks = createSharedChunks();
    const failed = chunks.take('a', never);
    await expect(failed.filled).rejects.toThrow('there already');
    const again = chunks.take('a', filling(5));
    expect(await again.filled).toBe(4);
    chunks.give(failed);
    expect(chunks.take('a', never)).toBe(again);
  });
});

describe('long files', () => {
  let dir: string;
  let store: BlobStore;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fededge-chunks-'));
    store = createFileBlobs({ dir });
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const bytes = Buffer.alloc(5 * maxChunkBytes + 7, 'some of the bytes of a long file');

  it.each([
    [0, bytes.length],
    [1, bytes.length - 1],
    [maxChunkBytes - 1, 2 * maxChunkBytes + 1],
    [maxChunkBytes, 3 * maxChunkBytes],
    [3 * maxChunkBytes + 5, 9 * maxChunkBytes],
    [bytes.length, bytes.length + 1],
  ])('are given from %d to %d', async (start, end) => {
    await put(store, 'a/long', bytes);
    expect((await get(store, 'a/long', { start, end })).equals(bytes.subarray(start, end))).toBe(true);
  });

  it('are the same for all who read at once, however far each is', async () => {
    await put(store, 'a/long', bytes);
    const part = { start: maxChunkBytes / 2, end: bytes.length };
    const given = await Promise.all([get(store, 'a/long'), get(store, 'a/long', part), get(store, 'a/long')]);
    const expected = [bytes, bytes.subarray(part.start), bytes];
    for (const [i, read] of given.entries()) expect(read.equals(expected[i]!)).toBe(true);
  });

  it('go on for the others when one stops early', async () => {
    await put(store, 'a/long', bytes);
    const other = get(store, 'a/long');
    for await (const chunk of store.read('a/long')) if (chunk.byteLength > 0) break;
    expect((await other).equals(bytes)).toBe(true);
  });

  test('another file of the same name is read, not what is remembered', async () => {
    await put(store, 'a/long', bytes);
    await get(store, 'a/long');
    await store.delete('a/long');
    const others = Buffer.from(bytes).fill('others');
    await put(store, 'a/long', others);
    expect((await get(store, 'a/long')).equals(others)).toBe(true);
    await writeFile(join(dir, 'a/long'), bytes);
    expect((await get(store, 'a/long')).equals(bytes)).toBe(true);
  });

  test('one that gets shorter meanwhile is an outage', async () => {
    await put(store, 'a/long', bytes);
    const reading = store.read('a/long')[Symbol.asyncIterator]();
    await reading.next();
    await truncate(join(dir, 'a/long'), 3 * maxChunkBytes);
    const rest = async () => {
      while (!(await reading.next()).done);
    };
    await expect(rest()).rejects.toThrow(BlobUnavailableError);
  });
});
