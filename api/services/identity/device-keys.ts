import { type CryptoKey, calculateJwkThumbprint, importJWK, type JWK } from 'jose';
import { FedEdgeError } from '../../domain/errors.ts';

/** A device's public key, in its one canonical form. */
export interface DevicePublicKey {
  jwk: Record<string, string>;
  /** RFC 7638, SHA-256: the key's name. */
  thumbprint: string;
  /** The signature algorithms that go with it. */
  algorithms: string[];
  key: CryptoKey;
}

const kinds = {
  'P-256': { kty: 'EC', coordinates: ['x', 'y'], algorithms: ['ES256'] },
  // RFC 9864 gives EdDSA with this curve a name of its own; libraries send either.
  Ed25519: { kty: 'OKP', coordinates: ['x'], algorithms: ['EdDSA', 'Ed25519'] },
} as const;

const COORDINATE_BYTES = 32;

/**
 * Takes a P-256 or Ed25519 public key as a JWK; members other than the key itself are dropped. Throws `invalid_key`
 * with a `reason`. Coordinates have to be canonical base64url: else one key could come back under another thumbprint
 * after it was revoked.
 */
export async function readPublicKey(jwk: Readonly<Record<string, unknown>>): Promise<DevicePublicKey> {
  const kind = Object.hasOwn(kinds, String(jwk.crv)) ? kinds[jwk.crv as keyof typeof kinds] : undefined;
  if (!kind || jwk.kty !== kind.kty) throw new FedEdgeError('invalid_key', { reason: 'unsupported_type' });
  if ('d' in jwk) throw new FedEdgeError('invalid_key', { reason: 'private_key' });
  const canonical: Record<string, string> = { kty: kind.kty, crv: jwk.crv as string };
  for (const name of kind.coordinates) canonical[name] = readCoordinate(jwk[name]);
  try {
    const key = (await importJWK(canonical as JWK, kind.algorithms[0])) as CryptoKey;
    const thumbprint = await calculateJwkThumbprint(canonical as JWK);
    return { jwk: canonical, thumbprint, algorithms: [...kind.algorithms], key };
  } catch (cause) {
    throw new FedEdgeError('invalid_key', { reason: 'not_on_curve' }, { cause });
  }
}

function readCoordinate(value: unknown): string {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64url') : undefined;
  if (bytes?.length !== COORDINATE_BYTES || bytes.toString('base64url') !== value) {
    throw new FedEdgeError('invalid_key', { reason: 'malformed_coordinate' });
  }
  return value;
}
