import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const TAG_BYTES = 16;
/** Salt, initialisation vector, tag, text. */
const IV_START = 16;
const TAG_START = IV_START + 12;
const TEXT_START = TAG_START + TAG_BYTES;

/**
 * Encrypts an answer (AES-256-GCM) with a key derived from the caller's own credentials (HKDF-SHA-256, RFC 5869), of
 * which the server stores a hash only: a secret that is shown once can be shown again to who repeats the request, and
 * to nobody who reads the database. `context` is authenticated with it.
 */
export function sealAnswer(secret: string, context: string, text: string): string {
  const salt = randomBytes(IV_START);
  const iv = randomBytes(TAG_START - IV_START);
  const cipher = createCipheriv('aes-256-gcm', deriveKey(secret, salt), iv).setAAD(Buffer.from(context));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([salt, iv, cipher.getAuthTag(), sealed]).toString('base64');
}

/** The text, or undefined with other credentials, another context or changed bytes. */
export function openAnswer(secret: string, context: string, answer: string): string | undefined {
  const bytes = Buffer.from(answer, 'base64');
  if (bytes.length < TEXT_START) return undefined;
  const salt = bytes.subarray(0, IV_START);
  const iv = bytes.subarray(IV_START, TAG_START);
  const tag = bytes.subarray(TAG_START, TEXT_START);
  const sealed = bytes.subarray(TEXT_START);
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv('aes-256-gcm', deriveKey(secret, salt), iv, options);
  decipher.setAAD(Buffer.from(context)).setAuthTag(tag);
  try {
    return decipher.update(sealed, undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return undefined;
  }
}

function deriveKey(secret: string, salt: Buffer): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, 'fededge idempotency answer', 32));
}
