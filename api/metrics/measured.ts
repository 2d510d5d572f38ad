import {
  type BlobBytes,
  BlobExistsError,
  BlobMissingError,
  type BlobStore,
  type BlobWriter,
  blobBytes,
} from '../store/blobs/blob-store.ts';
import type { Database } from '../store/database.ts';
import type { Metrics } from './metrics.ts';

/** The same store; its calls, their failures and bytes are counted. That a blob is not there is no failure. */
export function measureBlobs(blobs: BlobStore, { blobOperations, blobBytes: bytes }: Metrics): BlobStore {
  const note = (operation: string, error?: unknown) => {
    const expected = error instanceof BlobMissingError || error instanceof BlobExistsError;
    blobOperations.inc({ operation, outcome: error === undefined || expected ? 'ok' : 'failed' });
  };
  async function counted<T>(operation: string, call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      note(operation);
      return result;
    } catch (error) {
      note(operation, error);
      throw error;
    }
  }
  async function* counting(chunks: BlobBytes): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of chunks) {
        bytes.inc({ direction: 'read' }, chunk.byteLength);
        yield chunk;
      }
      note('read');
    } catch (error) {
      note('read', error);
      throw error;
    }
  }
  const measureWriter = (writer: BlobWriter): BlobWriter => ({
    async write(chunk) {
      try {
        await writer.write(chunk);
      } catch (error) {
        note('write', error);
        throw error;
      }
    },
    async commit() {
      await counted('write', () => writer.commit());
      bytes.inc({ direction: 'written' }, writer.bytes);
    },
    abort: () => writer.abort(),
    get bytes() {
      return writer.bytes;
    },
  });
  return {
    create: async (key, options) => measureWriter(await counted('create', () => blobs.create(key, options))),
    openAhead: async (keys) =>
      (await counted('open', () => blobs.openAhead(keys))).map((writer) => measureWriter(writer)),
    read(...request) {
      const chunks = blobs.read(...request);
      return blobBytes(counting(chunks), chunks.path);
    },
    size: (key) => counted('size', () => blobs.size(key)),
    delete: (...request) => counted('delete', () => blobs.delete(...request)),
    list: (prefix) => blobs.list(prefix),
    sweepTemporary: (before) => counted('sweep', () => blobs.sweepTemporary(before)),
    check: () => counted('check', () => blobs.check()),
  };
}

/** The same database; its transactions are timed. */
export function measureDatabase(db: Database, { transactionSeconds }: Metrics): Database {
  async function timed<T>(run: () => Promise<T>): Promise<T> {
    const end = transactionSeconds.startTimer();
    try {
      return await run();
    } finally {
      end();
    }
  }
  return {
    ...db,
    transaction: (work) => timed(() => db.transaction(work)),
    run: (statement) => timed(() => db.run(statement)),
  };
}
