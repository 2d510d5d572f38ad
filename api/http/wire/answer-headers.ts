import type { Deps } from '../../deps.ts';

const YEAR_SECONDS = 31_536_000;

/**
 * What answers say to browsers of their content: take the type as it is, tell nobody where you were, frame nothing, run
 * nothing, let no other site embed it. An answer 304 has no content, and what the caller keeps was told this with it: a
 * cache goes on with the headers that it has (RFC 9111, 3.2). On the most frequent answer they would be half of its bytes.
 */
const contentHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
};

/** What every answer says of the host: where the API is reached by TLS, come by TLS alone. */
export function hostHeaders({ publicUrl }: Pick<Deps, 'publicUrl'>): Record<string, string> {
  if (!publicUrl.startsWith('https://')) return {};
  return { 'strict-transport-security': `max-age=${YEAR_SECONDS}` };
}

/** What every answer but 304 says to browsers. */
export function securityHeaders(deps: Pick<Deps, 'publicUrl'>): Record<string, string> {
  return { ...contentHeaders, ...hostHeaders(deps) };
}

/** Takes away what an answer without a content does not say. */
export function removeContentHeaders(headers: Headers): void {
  for (const name of Object.keys(contentHeaders)) headers.delete(name);
}
