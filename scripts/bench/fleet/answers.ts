export interface Answer {
  status: number;
  /** The status line and the header fields, as they came. */
  head: string;
  /** Empty unless it was asked for. */
  body: Buffer;
  /** Of the body. */
  bytes: number;
}

const HEAD_END = '\r\n\r\n';
const BODILESS = new Set([204, 304]);

/**
 * Follows one HTTP/1.1 answer and gives it with its last byte. Chunks are not kept, so their memory may be used again;
 * neither is the body unless `keep`. Only answers with a declared length are understood.
 */
export function createAnswerReader(keep: boolean): (chunk: Buffer) => Answer | undefined {
  let pending: Buffer = Buffer.alloc(0);
  let head: string | undefined;
  let status = 0;
  let expected = 0;
  let received = 0;
  const kept: Buffer[] = [];

  function readHead(chunk: Buffer): Buffer | undefined {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    const end = pending.indexOf(HEAD_END);
    if (end < 0) {
      pending = Buffer.from(pending);
      return undefined;
    }
    head = pending.toString('latin1', 0, end);
    status = Number(head.slice(9, 12));
    expected = BODILESS.has(status) ? 0 : declaredLength(head);
    return pending.subarray(end + HEAD_END.length);
  }

  return (chunk) => {
    const body = head === undefined ? readHead(chunk) : chunk;
    if (head === undefined || !body) return undefined;
    received += body.length;
    if (keep && body.length > 0) kept.push(Buffer.from(body));
    if (received < expected) return undefined;
    return { status, head, body: Buffer.concat(kept), bytes: received };
  };
}

function declaredLength(head: string): number {
  const length = headerOf(head, 'content-length');
  if (length === undefined) throw new Error(`an answer without Content-Length:\n${head}`);
  return Number(length);
}

/** A header field's value. */
export function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trimEnd();
}
