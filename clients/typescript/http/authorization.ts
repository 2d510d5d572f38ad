const OPERATOR_KEY = /^fedop_/;

/**
 * The `Authorization` for a device's token or an operator's key. A scheme is the same in any case (RFC 9110, section
 * 11.1), but Envoy, as Istio runs it before the API, takes for a token of its own whatever follows `Bearer ` with a
 * capital B, and refuses a key, which is none. Behind `bearer ` it lets it through for the API to check.
 */
export function authorizationOf(token: string): string {
  return `${OPERATOR_KEY.test(token) ? 'bearer' : 'Bearer'} ${token}`;
}
