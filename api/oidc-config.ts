import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type Role, roles } from './domain/role.ts';

/** An OpenID Connect issuer whose tokens operators may bring. */
export interface OidcIssuerConfig {
  /** The tokens' `iss`, to the letter. */
  issuer: string;
  /** Has to be (in) the tokens' `aud`. */
  audience: string;
  /** Where its keys are. Unset: by discovery under `issuer`. */
  jwksUri: string | undefined;
  algorithms: readonly string[];
  /** The claim that holds the roles: the names to go down by. */
  roleClaim: readonly string[];
  /** Which value of that claim gives which role; the first one that a token has decides. */
  roles: readonly (readonly [value: string, role: Role])[];
  federation: string;
  maxTokenAgeSeconds: number;
}

/** Signatures alone: a secret that verifies could also sign. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);
const MAX_ISSUERS = 16;

const secureUrl = z
  .url({ protocol: /^https?$/ })
  .max(500)
  .refine(isSecure, { message: 'has to be https (http on this machine alone)' })
  .refine((text) => !/[?#|\s]/.test(text), { message: 'has to have neither query nor fragment' });

const issuerSchema = z.strictObject({
  issuer: secureUrl,
  audience: z.string().min(1).max(500),
  jwksUri: z
    .url({ protocol: /^https?$/ })
    .max(2000)
    .refine(isSecure, 'has to be https')
    .optional(),
  algorithms: z.array(z.enum(algorithms)).min(1).default(['RS256', 'ES256']),
  roleClaim: z.union([z.string().min(1), z.array(z.string().min(1)).min(1).max(8)]),
  roles: z.record(z.string().min(1), z.enum(roles)).refine((map) => Object.keys(map).length > 0, 'is empty'),
  federation: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
    .default('default'),
  maxTokenAgeSeconds: z.int().min(60).max(86_400).default(7200),
});

/**
 * Reads a list of issuers, given as JSON or as the path of a file with it. `fault` is told of everything that is wrong
 * with it, in words that repeat none of its values.
 */
export function readOidcIssuers(text: string, fault: (message: string) => void): OidcIssuerConfig[] {
  const json = parseJson(text, fault);
  if (json === undefined) return [];
  const parsed = z.array(issuerSchema).max(MAX_ISSUERS).safeParse(json);
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) fault(`${path.join('.')}: ${message}`);
    return [];
  }
  const names = parsed.data.map(({ issuer }) => issuer);
  if (new Set(names).size < names.length) fault('an issuer is there twice');
  return parsed.data.map(({ roleClaim, roles: mapping, jwksUri, ...rest }) => ({
    ...rest,
    jwksUri,
    roleClaim: typeof roleClaim === 'string' ? roleClaim.split('.') : roleClaim,
    roles: Object.entries(mapping),
  }));
}

function parseJson(text: string, fault: (message: string) => void): unknown {
  const inline = text.trimStart().startsWith('[');
  try {
    return JSON.parse(inline ? text : readFileSync(text, 'utf8'));
  } catch {
    fault(inline ? 'is not JSON' : 'is neither a JSON list nor the path of a file with one');
    return undefined;
  }
}

function isSecure(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || LOOPBACK.has(hostname);
}
