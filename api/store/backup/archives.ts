import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { decodeTarHeader, encodeTarHeader, paddedBytes, TAR_BLOCK } from './tar-headers.ts';

/** One file of an archive, as its manifest names it. */
export interface ArchivedFile {
  name: string;
  bytes: number;
  /** SHA-256, hex. */
  sha256: string;
}

export interface ArchiveWriter {
  /** Adds a file, whose length need not be known before. */
  add(name: string, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  readonly files: readonly ArchivedFile[];
  /** Makes the archive durable and gives it its name. */
  commit(): Promise<void>;
  /** Leaves nothing. */
  abort(): Promise<void>;
}

export interface ArchiveReader {
  readonly files: readonly ArchivedFile[];
  /** Throws where the archive has no such file. */
  read(name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const CHUNK_BYTES = 1 << 20;

/** A tar archive that appears under `path` whole or not at all, readable by its owner alone: it holds secrets. */
export async function createArchive(path: string, now: Date): Promise<ArchiveWriter> {
  const draft = `${path}.partial`;
  const handle = await open(draft, 'w', 0o600);
  const files: ArchivedFile[] = [];
  let end = 0;
  return {
    files,
    async add(name, chunks) {
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of chunks) {
        hash.update(chunk);
        await writeAt(handle, chunk, end + TAR_BLOCK + bytes);
        bytes += chunk.byteLength;
      }
      await writeAt(handle, encodeTarHeader({ name, bytes }, now), end);
      end += TAR_BLOCK + paddedBytes(bytes);
      files.push({ name, bytes, sha256: hash.digest('hex') });
    },
    async commit() {
      await handle.truncate(end + 2 * TAR_BLOCK);
      await handle.sync();
      await handle.close();
      await rename(draft, path);
      const folder = await open(dirname(path));
      await folder.sync().finally(() => folder.close());
    },
    async abort() {
      await handle.close().catch(() => undefined);
      await rm(draft, { force: true });
    },
  };
}

/** Opens an archive and reads all of it once, for the digests. */
export async function openArchive(path: string): Promise<ArchiveReader> {
  const handle = await open(path, 'r');
  try {
    const places = await findFiles(handle);
    const files: ArchivedFile[] = [];
    for (const [name, place] of places) {
      const hash = createHash('sha256');
      for await (const chunk of readRange(handle, place)) hash.update(chunk);
      files.push({ name, bytes: place.bytes, sha256: hash.digest('hex') });
    }
    return {
      files,
      read(name) {
        const place = places.get(name);
        if (!place) throw new Error(`the archive has no ${name}`);
        return readRange(handle, place);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Place {
  start: number;
  bytes: number;
}

async function findFiles(handle: FileHandle): Promise<Map<string, Place>> {
  const { size } = await handle.stat();
  const places = new Map<string, Place>();
  const block = Buffer.alloc(TAR_BLOCK);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(block, 0, TAR_BLOCK, at);
    if (bytesRead < TAR_BLOCK) throw new Error('the archive is cut off');
    const entry = decodeTarHeader(block);
    if (!entry) return places;
    const start = at + TAR_BLOCK;
    if (start + entry.bytes > size) throw new Error('the archive is cut off');
    places.set(entry.name, { start, bytes: entry.bytes });
    at = start + paddedBytes(entry.bytes);
  }
}

async function* readRange(handle: FileHandle, { start, bytes }: Place): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, bytes));
  for (let read = 0; read < bytes; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - read), start + read);
    if (bytesRead === 0) throw new Error('the archive is cut off');
    read += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function writeAt(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < chunk.byteLength; ) {
    const rest = chunk.byteLength - written;
    const { bytesWritten } = await handle.write(chunk, written, rest, position + written);
    written += bytesWritten;
  }
}
