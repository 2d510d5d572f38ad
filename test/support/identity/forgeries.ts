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

/** Signs exactly this text, whatever it says: what no library would make. ES256. */
export async function signText(privateKey: CryptoKey, header: string, claims: string): Promise<string> {
  const encode = (text: string) => Buffer.from(text).toString('base64url');
  const input = `${encode(header)}.${encode(claims)}`;
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const signature = await crypto.subtle.sign(algorithm, privateKey, Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString('base64url')}`;
}

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The other valid ECDSA signature of the same text: (r, n - s). */
export function twinSignature(token: string): string {
  const [head, body, signature] = token.split('.') as [string, string, string];
  const bytes = Buffer.from(signature, 'base64url');
  const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const twin = Buffer.from((P256_ORDER - s).toString(16).padStart(64, '0'), 'hex');
  return `${head}.${body}.${Buffer.concat([bytes.subarray(0, 32), twin]).toString('base64url')}`;
}

/** The token with other bytes as its signature. */
export function withSignature(token: string, signature: Uint8Array): string {
  return `${token.slice(0, token.lastIndexOf('.'))}.${Buffer.from(signature).toString('base64url')}`;
}

/** The same token in spellings that lenient decoders take for it. */
export function respell(token: string): [name: string, spelling: string][] {
  const [head, body, signature] = token.split('.') as [string, string, string];
  const last = signature.at(-1)!;
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const unused = alphabet[alphabet.indexOf(last) ^ 1]!;
  return [
    ['padding (RFC 7515 2)', `${token}==`],
    ['padding inside (RFC 7515 2)', `${head}=.${body}=.${signature}==`],
    ['bits that do not count (RFC 4648 3.5)', `${head}.${body}.${signature.slice(0, -1)}${unused}`],
    ['a line break (RFC 7515 2)', `${head}.\n${body}.${signature}`],
    ['a space (RFC 7515 2)', `${head}. ${body}.${signature}`],
    [
      'the other alphabet (RFC 4648 5)',
      `${head}.${body}.${signature}`.replaceAll('-', '+').replaceAll('_', '/'),
    ],
    ['a dot look-alike (RFC 8725 3.7)', token.replace('.', '\u2024')],
    ['percent signs (RFC 7515 7.1)', token.replace('.', '%2E')],
    ['four parts (RFC 7515 7.1)', `${token}.${signature}`],
    ['five parts, a JWE (RFC 7516 7.1)', `${head}..${body}.${signature}.${signature}`],
    ['two parts (RFC 7515 7.1)', `${head}.${body}`],
    ['an empty signature (RFC 7515 5.2)', `${head}.${body}.`],
    ['no header (RFC 7515 7.1)', `.${body}.${signature}`],
    ['the JSON serialization (RFC 7515 7.2)', JSON.stringify({ protected: head, payload: body, signature })],
  ];
}
