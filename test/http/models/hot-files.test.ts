import { describe, expect, it } from 'vitest';
import { createHotFiles } from '../../../api/http/wire/hot-files.ts';
import { BlobMissingError } from '../../../api/store/blobs/blob-store.ts';
import { inChunks } from '../../support/blobs.ts';

const MiB = 1 << 20;

/** A store that counts its reads; the content of a blob is its key's last character. */
function countingStore() {
  const reads: string[] = [];
  return {
    reads,
    read: inChunks(async function* (key, range) {
      reads.push(key);
      if (key === 'missing') throw new BlobMissingError(key);
      const chunk = new Uint8Array(range!.end / 2);
      yield chunk.fill(1);
      // The store uses its memory again.
      yield chunk.fill(2);
    }),
  };
}

describe('hot files', () => {
  it('are read once for all that ask, and keep their bytes', async () => {
    const store = countingStore();
    const hot = createHotFiles(store);
    const contents = await Promise.all(Array.from({ length: 20 }, () => hot.get('a', 8)));
    expect(store.reads).toEqual(['a']);
    for (const content of contents) expect([...content!]).toEqual([1, 1, 1, 1, 2, 2, 2, 2]);
  });

  it('over 8 MiB are not kept', () => {
    expect(createHotFiles(countingStore()).get('large', 8 * MiB + 2)).toBeUndefined();
  });

  it('that were not asked for the longest go first, so that 32 MiB stay', async () => {
    const store = countingStore();
    const hot = createHotFiles(store);
    for (const key of ['a', 'b', 'c', 'd']) await hot.get(key, 8 * MiB);
    await hot.get('a', 8 * MiB);
    await hot.get('e', 8 * MiB);
    expect(store.reads).toEqual(['a', 'b', 'c', 'd', 'e']);
    for (const key of ['a', 'c', 'd', 'e']) await hot.get(key, 8 * MiB);
    expect(store.reads).toHaveLength(5);
    await hot.get('b', 8 * MiB);
    expect(store.reads).toHaveLength(6);
  });

  it('that could not be read are tried again', async () => {
    const store = countingStore();
    const hot = createHotFiles(store);
    await expect(hot.get('missing', 8)).rejects.toBeInstanceOf(BlobMissingError);
    await expect(hot.get('missing', 8)).rejects.toBeInstanceOf(BlobMissingError);
    expect(store.reads).toHaveLength(2);
  });
});
