import type { Session } from '../device/session.ts';
import { putUpdate } from '../generated/sdk.gen.ts';
import { transferMs } from '../http/calls.ts';
import { digestField, sha256 } from '../http/digests.ts';
import { hasCode } from '../http/problem-error.ts';
import { forgetUpload, type KeptUpdate, sendInParts } from './resumable-uploads.ts';

const PREFIX = 'update-';
/** The server's final word on an update. */
const REFUSALS = [
  'late',
  'full',
  'stale',
  'not_in_cohort',
  'update_conflict',
  'malformed',
  'not_found',
] as const;

type UpdateAnswer =
  | { outcome: 'accepted' | 'duplicate' }
  | { outcome: (typeof REFUSALS)[number]; reason: string | undefined };

export interface UploadSettings {
  resumableAboveBytes: number;
  partBytes: number;
}

/** Keeps a finished update until `sendUpdate` has an answer to it: after a crash the same bytes are sent. */
export async function keepUpdate(
  { store }: Session,
  assignment: string,
  file: Uint8Array<ArrayBuffer>,
): Promise<{ digest: string; bytes: number }> {
  await store.write(PREFIX + assignment, file);
  return { digest: await sha256(file), bytes: file.length };
}

/** The assignments whose updates are kept. */
export async function listKeptUpdates({ store }: Session): Promise<string[]> {
  const names = await store.list();
  return names.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
}

/**
 * Sends the kept update of an assignment until the server has decided about it, and then forgets it. The bytes are the
 * same at every attempt, so the answer to one whose acknowledgement was lost is `duplicate`. Throws what is no decision.
 * `knownDigest` saves reading the file once more.
 */
export async function sendUpdate(
  session: Session,
  assignment: string,
  settings: UploadSettings,
  knownDigest?: string,
): Promise<UpdateAnswer> {
  const name = PREFIX + assignment;
  const file = await session.store.open(name);
  if (!file) throw new Error(`there is no update for assignment ${assignment}`);
  const digest = knownDigest ?? (await sha256(new Uint8Array(await file.arrayBuffer())));
  const update = { assignment, file, digest };
  try {
    const receipt =
      file.size > settings.resumableAboveBytes
        ? await sendInParts(session, update, settings.partBytes)
        : await sendWhole(session, update);
    return { outcome: receipt.status };
  } catch (error) {
    const outcome = REFUSALS.find((code) => hasCode(error, code));
    if (!outcome) throw error;
    const { reason } = (error as { details?: { reason?: unknown } }).details ?? {};
    return { outcome, reason: typeof reason === 'string' ? reason : undefined };
  } finally {
    // Without an answer only a stop of the agent leads here, and then the update is to stay.
    if (!session.signal.aborted) await forgetUpdate(session, assignment);
  }
}

async function forgetUpdate(session: Session, assignment: string): Promise<void> {
  await session.store.remove(PREFIX + assignment);
  await forgetUpload(session, assignment);
}

async function sendWhole(session: Session, { assignment, file, digest }: KeptUpdate) {
  const headers = { 'Content-Digest': digestField(digest) };
  const put = (signal: AbortSignal) =>
    putUpdate({ client: session.api, path: { assignment }, body: file, headers, signal });
  return (await session.insist(put, { timeoutMs: transferMs(file.size) })).data;
}
