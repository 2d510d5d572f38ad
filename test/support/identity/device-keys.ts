import { createHash, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export interface DeviceKey {
  algorithm: 'ES256' | 'EdDSA';
  privateKey: CryptoKey;
  /** Public. */
  jwk: JWK;
  thumbprint: string;
}

export async function createDeviceKey(algorithm: DeviceKey['algorithm'] = 'ES256'): Promise<DeviceKey> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { algorithm, privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk) };
}

/** A statement by the key. `claims` with the value undefined are left out; `header` replaces what it would have. */
export async function sign(
  key: Pick<DeviceKey, 'algorithm' | 'privateKey'>,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  const kept = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
  return new SignJWT(kept).setProtectedHeader({ alg: key.algorithm, ...header }).sign(key.privateKey);
}

/** The proof of a registration; `claims` replace those of a good one. */
export function signProof(
  key: DeviceKey,
  input: { aud: string; now: Date; enrollmentToken: string; claims?: Record<string, unknown> },
): Promise<string> {
  const eth = createHash('sha256').update(input.enrollmentToken).digest('base64url');
  const claims = { aud: input.aud, iat: seconds(input.now), jti: randomUUID(), eth, ...input.claims };
  return sign(key, claims, { typ: 'fededge-proof+jwt' });
}

/** The assertion of a token request; `claims` replace those of a good one. */
export function signAssertion(
  key: DeviceKey,
  input: { aud: string; deviceId: string; now: Date; claims?: Record<string, unknown> },
): Promise<string> {
  const iat = seconds(input.now);
  const { aud, deviceId } = input;
  const claims = {
    aud,
    iss: deviceId,
    sub: deviceId,
    iat,
    exp: iat + 60,
    jti: randomUUID(),
    ...input.claims,
  };
  return sign(key, claims);
}

export function seconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}
