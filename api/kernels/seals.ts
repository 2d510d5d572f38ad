import { type CipherGCM, createCipheriv, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';

const KEY_BYTES = 32;
const TAG_BYTES = 16;
/** A key is used for one file, so its nonce may be any. */
const NONCE = new Uint8Array(12);

/** Takes a file's bytes in order, in pieces of any length; they are read before the call returns. */
export interface Sealer {
  push(bytes: Uint8Array): void;
}

/** Seals a file as it passes. */
export interface NewSeal extends Sealer {
  /** After the last byte: the key and the tag, a secret. */
  close(): string;
}

/** Looks whether a file is the one that was sealed. */
export interface SealCheck extends Sealer {
  /** After the last byte. */
  holds(): boolean;
}

/**
 * Seals a file against everybody who can write to the blob store but cannot read the database, where the seal is kept:
 * GMAC (NIST SP 800-38D) under a random key of 256 bits that serves this file alone and is never shown.
 *
 * GMAC is a polynomial universal hash (Carter & Wegman 1979) over GF(2^128), a carry-less product for each 16 bytes: a
 * tenth of what SHA-256 costs. Other bytes, or another length, have the tag with a probability of at most
 * (n + 1) / 2^128, where n is how many blocks of 16 bytes the longer of the two has (McGrew & Viega 2004, lemma 2):
 * below 2^-99 for 4 GiB, whatever the forger knows of the file and however much he computes. To that comes how well
 * AES-256 can be told from a random permutation by what nobody sees. There is one try for each update: it
 * is rejected when its seal does not hold. Who reads the key can forge, so SHA-256 stays what the world is told.
 */
export function createSeal(): NewSeal {
  const key = randomBytes(KEY_BYTES);
  const mac = createMac(key);
  return {
    push: (bytes) => void mac.setAAD(bytes),
    close: () => Buffer.concat([key, tagOf(mac)]).toString('base64url'),
  };
}

/** What is not a seal never holds. */
export function checkSeal(seal: string): SealCheck {
  const bytes = Buffer.from(seal, 'base64url');
  if (bytes.length !== KEY_BYTES + TAG_BYTES) return { push: () => {}, holds: () => false };
  const mac = createMac(bytes.subarray(0, KEY_BYTES));
  return {
    push: (piece) => void mac.setAAD(piece),
    holds: () => timingSafeEqual(tagOf(mac), bytes.subarray(KEY_BYTES)),
  };
}

/**
 * GMAC is GCM of a message that has additional data alone. From a KeyObject: Node takes eight times as long to find out
 * that bytes are none.
 */
function createMac(key: Uint8Array): CipherGCM {
  return createCipheriv('aes-256-gcm', createSecretKey(key), NONCE, { authTagLength: TAG_BYTES });
}

function tagOf(mac: CipherGCM): Buffer {
  mac.final();
  return mac.getAuthTag();
}
