import { SignJWT } from 'jose';
import type { Identity } from './identity.ts';

/** An assertion is for one request. */
const ASSERTION_SECONDS = 120;

interface Claims {
  /** The URL by which the server knows itself. */
  audience: string;
  /** The server's time, in milliseconds. */
  now: number;
}

/** Proves at registration that the device has the key (`typ` `fededge-proof+jwt`). */
export async function signProof(
  identity: Identity,
  { audience, now, enrollmentToken }: Claims & { enrollmentToken: string },
): Promise<string> {
  const token = new TextEncoder().encode(enrollmentToken);
  const eth = base64url(new Uint8Array(await crypto.subtle.digest('SHA-256', token)));
  return new SignJWT({ eth })
    .setProtectedHeader({ alg: identity.algorithm, typ: 'fededge-proof+jwt' })
    .setAudience(audience)
    .setIssuedAt(seconds(now))
    .setJti(crypto.randomUUID())
    .sign(identity.privateKey);
}

/** The client assertion of `private_key_jwt` (RFC 7523). */
export function signAssertion(
  identity: Identity,
  device: string,
  { audience, now }: Claims,
): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: identity.algorithm, typ: 'JWT' })
    .setIssuer(device)
    .setSubject(device)
    .setAudience(audience)
    .setIssuedAt(seconds(now))
    .setExpirationTime(seconds(now) + ASSERTION_SECONDS)
    .setJti(crypto.randomUUID())
    .sign(identity.privateKey);
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}
