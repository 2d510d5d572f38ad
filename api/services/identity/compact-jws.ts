/** Longer tokens are refused before anything is decoded. */
const MAX_TOKEN_CHARS = 4096;

/** What a token says, before anybody has looked at its signature. */
export interface UnverifiedJws {
  header: Readonly<Record<string, unknown>>;
  claims: Readonly<Record<string, unknown>>;
}

const strings = /"(?:[^"\\]|\\.)*"(\s*:)?/g;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Takes a JWS apart (RFC 7515 section 7.1), more strictly than most decoders: three parts in canonical base64url
 * without padding (section 2), so that a token has one spelling; JSON objects in UTF-8 (RFC 7519 section 7.2) in which
 * no name is there twice (section 4), so that all who read a token read the same. Extensions that change what is
 * signed (`crit`, `b64`) are refused. Undefined: it is none. It verifies nothing.
 */
export function readCompactJws(token: string): UnverifiedJws | undefined {
  if (token.length > MAX_TOKEN_CHARS) return undefined;
  const parts = token.split('.');
  const [head, body, signature] = parts.map(decodeCanonical);
  if (parts.length !== 3 || !head || !body || !signature) return undefined;
  const header = parseObject(head);
  const claims = parseObject(body);
  if (!header || !claims || 'crit' in header || 'b64' in header) return undefined;
  return { header, claims };
}

function decodeCanonical(part: string): Uint8Array | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.length > 0 && bytes.toString('base64url') === part ? bytes : undefined;
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = utf8.decode(bytes);
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return countNames(text) === countMembers(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** In valid JSON a string that a colon follows is the name of a member. */
function countNames(text: string): number {
  return [...text.matchAll(strings)].filter(([, colon]) => colon !== undefined).length;
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((count, member) => count + countMembers(member), own);
}
