import type { Principal } from '../../domain/role.ts';
import { DEFAULT_FEDERATION } from './federation.ts';

/** The server itself, where it does what an operator could do. */
export const systemPrincipal: Principal = {
  kind: 'operator',
  id: 'system',
  federationId: DEFAULT_FEDERATION,
  role: 'operator',
};

/** How the audit log names a caller: `operator:KEY`, `device:ID`, or `oidc:ISSUER|SUBJECT`. */
export function actorOf(principal: Principal): string {
  if (principal.kind === 'operator' && principal.id.startsWith('oidc:')) return principal.id;
  return principal === systemPrincipal ? 'system' : `${principal.kind}:${principal.id}`;
}
