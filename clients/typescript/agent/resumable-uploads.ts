import type { Session } from '../device/session.ts';
import { appendToUpload, beginUpdateUpload, inspectUpload } from '../generated/sdk.gen.ts';
import type { UpdateReceipt } from '../generated/types.gen.ts';
import { transferMs } from '../http/calls.ts';
import { digestField } from '../http/digests.ts';
import { hasCode } from '../http/problem-error.ts';

/** A finished update, as it is sent however often. */
export interface KeptUpdate {
  assignment: string;
  file: Blob;
  /** SHA-256, hex. */
  digest: string;
}

const PREFIX = 'upload-';

/** Where an upload stands at the server. */
interface Upload {
  id: string;
  offset: number;
}

/**
 * Sends an update in parts (draft-ietf-httpbis-resumable-upload): after a cut connection, and after a restart, it goes
 * on with what the server does not have. Throws the server's refusals.
 */
export async function sendInParts(
  session: Session,
  update: KeptUpdate,
  partBytes: number,
): Promise<UpdateReceipt> {
  let known: Upload | undefined;
  while (true) {
    const next = await session.persist(async () => {
      const at = known ?? (await findOrBegin(session, update));
      // Until an answer says where it stands.
      known = undefined;
      return 'offset' in at ? append(session, update, at, partBytes) : at;
    });
    if ('status' in next) return next;
    known = next;
  }
}

export function forgetUpload({ store }: Session, assignment: string): Promise<void> {
  return store.remove(PREFIX + assignment);
}

/** The upload that an earlier attempt began, if the server still has it, or a new one. */
async function findOrBegin(session: Session, update: KeptUpdate): Promise<Upload | UpdateReceipt> {
  const kept = await session.store.read(PREFIX + update.assignment);
  const id = kept && new TextDecoder().decode(kept);
  const offset = id ? await readOffset(session, id) : undefined;
  return id && offset !== undefined ? { id, offset } : begin(session, update);
}

async function begin(
  session: Session,
  { assignment, file, digest }: KeptUpdate,
): Promise<Upload | UpdateReceipt> {
  const headers = {
    'Upload-Complete': '?0' as const,
    'Upload-Length': String(file.size),
    'Repr-Digest': digestField(digest),
  };
  const { data } = await session.call((signal) =>
    beginUpdateUpload({ client: session.api, path: { assignment }, body: new Blob(), headers, signal }),
  );
  if ('status' in data) return data;
  await session.store.write(PREFIX + assignment, new TextEncoder().encode(data.id));
  return data;
}

/** Undefined: the server does not have it any more. */
async function readOffset(session: Session, upload: string): Promise<number | undefined> {
  try {
    const { response } = await session.call((signal) =>
      inspectUpload({ client: session.api, path: { upload }, signal }),
    );
    return Number(response.headers.get('upload-offset'));
  } catch (error) {
    if (hasCode(error, 'not_found', 'http_404')) return undefined;
    throw error;
  }
}

async function append(
  session: Session,
  { file }: KeptUpdate,
  { id, offset }: Upload,
  partBytes: number,
): Promise<Upload | UpdateReceipt> {
  const end = Math.min(offset + partBytes, file.size);
  const headers = {
    'Upload-Complete': end === file.size ? ('?1' as const) : ('?0' as const),
    'Upload-Offset': String(offset),
  };
  const body = file.slice(offset, end);
  const patch = (signal: AbortSignal) =>
    appendToUpload({ client: session.api, path: { upload: id }, body, headers, signal });
  try {
    const { data, response } = await session.call(patch, { timeoutMs: transferMs(body.size) });
    return response.status === 204 ? { id, offset: end } : (data as UpdateReceipt);
  } catch (error) {
    if (!hasCode(error, 'upload_offset')) throw error;
    return { id, offset: Number(error.details['expected-offset']) };
  }
}
