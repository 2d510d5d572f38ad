/** A part of a JWS: JSON in base64url. */
export function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** The token with other members in its header or claims, under the old signature. */
export function tamper(token: string, header: object, claims: object = {}): string {
  const [head, body, signature] = token.split('.');
  const parse = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString());
  return `${part({ ...parse(head!), ...header })}.${part({ ...parse(body!), ...claims })}.${signature}`;
}
