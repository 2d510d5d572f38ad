import { hash, randomBytes } from 'node:crypto';

const SECRET_BYTES = 32;

/** What a secret opens; its prefix lets secret scanners find one that leaked. */
export const secretPrefixes = { operatorKey: 'fedop_', enrollmentToken: 'fedenr_' } as const;

/** The shape of an operator key: anything else is refused without a look into the database. */
export const operatorKeyPattern = /^fedop_[A-Za-z0-9_-]{43}$/;

/** A fresh secret of 256 random bits: the prefix and 43 base64url characters. */
export function newSecret(prefix: string): string {
  return prefix + randomBytes(SECRET_BYTES).toString('base64url');
}

/** What is stored of a secret: SHA-256, hex. 256 random bits need neither salt nor stretching. */
export function hashSecret(secret: string): string {
  return hash('sha256', secret, 'hex');
}
