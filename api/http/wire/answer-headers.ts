import type { Deps } from '../../deps.ts';

const YEAR_SECONDS = 31_536_000;

/**
 * What every answer says to browsers: take the type as it is, tell nobody where you were, frame nothing, run nothing, let
 * no other site embed it, and, where the API is reached by TLS, come by TLS alone.
 */
export function securityHeaders({ publicUrl }: Pick<Deps, 'publicUrl'>): Record<string, string> {
  return {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    ...(publicUrl.startsWith('https://') ? { 'strict-transport-security': `max-age=${YEAR_SECONDS}` } : {}),
  };
}
