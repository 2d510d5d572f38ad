const MEMBER = /^\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*(?:;.*)?$/;

/**
 * The SHA-256 (hex) of a Content-Digest or Repr-Digest field (RFC 9530 section 2); other algorithms beside it are
 * ignored. Undefined: it is missing or not readable. Of several members the last counts (RFC 9651 section 3.2).
 */
export function readDigest(field: string | undefined): string | undefined {
  const members = field?.split(',').filter((member) => member.trimStart().startsWith('sha-256=')) ?? [];
  const value = MEMBER.exec(members.at(-1) ?? '')?.[1];
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString('hex');
}

/** The field's value for a SHA-256 in hex. */
export function writeDigest(hex: string): string {
  return `sha-256=:${Buffer.from(hex, 'hex').toString('base64')}:`;
}
