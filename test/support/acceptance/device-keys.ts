import { createHash, generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, type JWK, SignJWT } from 'jose';

export interface DeviceKey {
  algorithm: 'ES256' | 'EdDSA';
  privateKey: KeyObject;
  jwk: JsonWebKey;
  thumbprint: string;
  /** The private part, which may stand nowhere. */
  secret: string;
}

export async function createKey(algorithm: DeviceKey['algorithm'] = 'EdDSA'): Promise<DeviceKey> {
  const { privateKey, publicKey } =
    algorithm === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = publicKey.export({ format: 'jwk' });
  const thumbprint = await calculateJwkThumbprint(jwk as JWK);
  return { algorithm, privateKey, jwk, thumbprint, secret: privateKey.export({ format: 'jwk' }).d! };
}

/** What a registration or a rotation proves: `claims` beside audience, time and a fresh id. */
export function signProof(key: DeviceKey, audience: string, claims: Record<string, string>): Promise<string> {
  return sign(key, { ...claims, aud: audience }, { typ: 'fededge-proof+jwt' });
}

/** RFC 7523: the device says who it is at the token endpoint. */
export function signAssertion(key: DeviceKey, audience: string, deviceId: string): Promise<string> {
  const exp = Math.floor(Date.now() / 1000) + 60;
  return sign(key, { aud: audience, iss: deviceId, sub: deviceId, exp }, {});
}

export function hashToken(enrollmentToken: string): string {
  return createHash('sha256').update(enrollmentToken).digest('base64url');
}

function sign(
  { algorithm, privateKey }: DeviceKey,
  claims: Record<string, string | number>,
  header: { typ?: string },
): Promise<string> {
  return new SignJWT({ ...claims, jti: randomUUID() })
    .setProtectedHeader({ alg: algorithm, ...header })
    .setIssuedAt()
    .sign(privateKey);
}
