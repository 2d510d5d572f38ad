import {
  type BlobBytes,
  BlobExistsError,
  BlobMissingError,
  type BlobStore,
  BlobUnavailableError,
  blobBytes,
} from './blob-store.ts';
import { shareRuns } from './shared-runs.ts';

/** What is there is not the federation's store: a folder whose volume is not mounted, another bucket. */
export class BlobStoreMissingError extends BlobUnavailableError {
  constructor(marker: string) {
    super(
      `it has not the marker ${marker} of this federation: is its volume mounted, is it the right bucket?`,
    );
    this.name = 'BlobStoreMissingError';
  }
}

/** What the database knows of the store. */
export interface StoreRecord {
  /** The key of the store's marker: the same for as long as the federation lives. */
  marker(): Promise<string>;
  /** Some blobs that have to be there; none in a federation that has none yet. */
  sample(): Promise<string[]>;
}

/**
 * The same store, which has to prove that it is the federation's: by a marker that the first use leaves in it. Without
 * it a blob that is not there counts as an outage, not as lost, and nothing is written or deleted. A store without a
 * marker gets one if it is new, or if it holds blobs of this federation (a restored one). `lookMs`: a marker that was
 * seen is not looked for again before each write for so long.
 */
export function markBlobs(blobs: BlobStore, record: StoreRecord, { lookMs }: { lookMs: number }): BlobStore {
  let marker: string | undefined;
  let seenAt = Number.NEGATIVE_INFINITY;
  const isThere = async (key: string) => (await blobs.size(key)) !== undefined;

  async function look(): Promise<void> {
    marker ??= await record.marker();
    if (!(await isThere(marker))) {
      if (!(await mayBeMarked())) throw new BlobStoreMissingError(marker);
      await leaveMarker(blobs, marker);
    }
    seenAt = performance.now();
  }

  async function mayBeMarked(): Promise<boolean> {
    const sample = await record.sample();
    // A store that this process has seen is not new.
    if (sample.length === 0) return seenAt === Number.NEGATIVE_INFINITY;
    for (const key of sample) if (await isThere(key)) return true;
    return false;
  }

  const lookTogether = shareRuns(look);

  async function marked(): Promise<void> {
    if (performance.now() - seenAt >= lookMs) await lookTogether();
  }

  /** Returns if the blob is lost indeed. */
  async function confirmLost(key: string): Promise<void> {
    await look();
    if (await isThere(key)) throw new BlobUnavailableError(`${key} was not there for a moment`);
  }

  async function* confirmed(key: string, bytes: BlobBytes): AsyncGenerator<Uint8Array> {
    try {
      yield* bytes;
    } catch (error) {
      if (error instanceof BlobMissingError) await confirmLost(key);
      throw error;
    }
  }

  return {
    read(key, range) {
      const bytes = blobs.read(key, range);
      return blobBytes(confirmed(key, bytes), bytes.path);
    },
    async create(key, options) {
      await marked();
      return blobs.create(key, options);
    },
    async openAhead(keys) {
      await marked();
      return blobs.openAhead(keys);
    },
    async size(key) {
      const size = await blobs.size(key);
      if (size === undefined) await confirmLost(key);
      return size;
    },
    async delete(...request) {
      await marked();
      await blobs.delete(...request);
    },
    list: (prefix) => blobs.list(prefix),
    sweepTemporary: (before) => blobs.sweepTemporary(before),
    async check() {
      await blobs.check();
      await look();
    },
  };
}

async function leaveMarker(blobs: BlobStore, marker: string): Promise<void> {
  const text = Buffer.from(
    'Here are the blobs of a FedEdge federation. Without this file it takes them for lost.\n',
  );
  const writer = await blobs.create(marker, { bytes: text.length });
  try {
    await writer.write(text);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    // Another process was faster.
    if (!(error instanceof BlobExistsError)) throw error;
  }
}
