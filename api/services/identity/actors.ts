import type { Principal } from '../../domain/role.ts';
import { DEFAULT_FEDERATION } from './federation.ts';

/** The server itself, where it does what an operator could do. */
export const systemPrincipal: Principal = {
  kind: 'operator',
  id: 'system',
  federationId: DEFAULT_FEDERATION,
  role: 'operator',
};

/** How the audit log names a caller. */
export function actorOf(principal: Principal): string {
  return principal === systemPrincipal ? 'system' : `${principal.kind}:${principal.id}`;
}
