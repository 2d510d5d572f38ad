import type { Session } from '../device/session.ts';
import type { Assignment } from '../generated/types.gen.ts';
import { transferMs } from '../http/calls.ts';
import { sha256 } from '../http/digests.ts';
import { ConnectionError } from '../http/problem-error.ts';

type Download = Assignment['downloads'][number];

const PREFIX = 'weights-';
/** How much of a download a crash may lose. */
const SAVE_BYTES = 1 << 20;

export interface Weights {
  bytes: Uint8Array<ArrayBuffer>;
  /** True if none of them had to be fetched now. */
  cached: boolean;
}

/**
 * The bytes of a download, whose digest is checked. They are kept by digest, so the same ones are fetched once, and a
 * fetch that was cut, also by the end of the process, goes on where it was. One set of weights is kept.
 */
export async function fetchWeights(
  session: Session,
  download: Download,
  signal: AbortSignal,
): Promise<Weights> {
  const { store } = session;
  const name = PREFIX + download.digest;
  const file = new Uint8Array(download.bytes);
  const kept = await readKept(session, name, file);
  const cached = kept === file.length;
  if (!cached) await session.persist(() => complete(session, { name, file, download, signal }), signal);
  const others = (await store.list()).filter((other) => other.startsWith(PREFIX) && other !== name);
  for (const other of others) await store.remove(other);
  return { bytes: file, cached };
}

interface Transfer {
  name: string;
  file: Uint8Array<ArrayBuffer>;
  download: Download;
  signal: AbortSignal;
}

/** One attempt: fetches what is missing. Throws a `ConnectionError` if it does not become whole. */
async function complete(session: Session, transfer: Transfer): Promise<void> {
  const { name, file, download, signal } = transfer;
  const kept = await readKept(session, name, file);
  const { response, data } = await request(session, download, kept, signal);
  if (response.status !== 206) await session.store.remove(name);
  const start = response.status === 206 ? kept : 0;
  const end = await receive(session, transfer, data, start);
  if (end < file.length) throw new ConnectionError(`${end} of ${file.length} bytes came`);
  if ((await sha256(file)) === download.digest) return;
  await session.store.remove(name);
  throw new ConnectionError('the weights do not have their digest');
}

/** Reads what the store has of the file into its beginning, and says how much that is. */
async function readKept({ store }: Session, name: string, file: Uint8Array<ArrayBuffer>): Promise<number> {
  const kept = await store.read(name);
  if (!kept) return 0;
  const digest = name.slice(PREFIX.length);
  if (kept.length < file.length || (kept.length === file.length && (await sha256(kept)) === digest)) {
    file.set(kept);
    return kept.length;
  }
  await store.remove(name);
  return 0;
}

function request(session: Session, { url, digest, bytes }: Download, kept: number, signal: AbortSignal) {
  const headers = kept > 0 ? { Range: `bytes=${kept}-`, 'If-Range': `"${digest}"` } : {};
  const get = (signal: AbortSignal) =>
    session.api.get<{ 200: ReadableStream<Uint8Array> }>({
      url,
      headers,
      signal,
      parseAs: 'stream',
      security: [{ scheme: 'bearer', type: 'http' }],
    });
  return session.call(get, { signal, timeoutMs: transferMs(bytes) });
}

/** Reads a body into the file from `start` on, keeps what came even if it breaks off, and says where it ended. */
async function receive(
  { store }: Session,
  { name, file }: Transfer,
  body: ReadableStream<Uint8Array>,
  start: number,
): Promise<number> {
  let end = start;
  let saved = start;
  const save = async () => {
    if (end > saved) await store.append(name, file.subarray(saved, end));
    saved = end;
  };
  try {
    for await (const chunk of unbroken(body)) {
      if (end + chunk.length > file.length) throw new ConnectionError(`more than ${file.length} bytes came`);
      file.set(chunk, end);
      end += chunk.length;
      if (end - saved >= SAVE_BYTES) await save();
    }
  } finally {
    await save();
  }
  return end;
}

/** Tells a broken connection from what goes wrong at home. */
async function* unbroken(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw new ConnectionError(cause);
  }
}
