import type { Deps } from '../../deps.ts';
import { canDevicesEnrol } from '../../store/identity/enrollment-tokens.ts';
import { systemPrincipal } from './actors.ts';
import { createEnrollmentToken } from './enrollment-tokens.ts';

const MAX_USES = 100;
const EXPIRES_IN_SECONDS = 24 * 60 * 60;

/**
 * The secret of an enrolment token for the first devices of a new federation: 100 uses within a day, no approval.
 * Undefined when a device has registered already or another token can be used. For the one server of an embedded
 * database: two at once would make two.
 */
export async function createFirstToken(deps: Pick<Deps, 'db' | 'clock'>): Promise<string | undefined> {
  const { federationId } = systemPrincipal;
  if (await canDevicesEnrol(deps.db.pool, federationId, deps.clock.now())) return undefined;
  const { secret } = await createEnrollmentToken(deps, systemPrincipal, {
    name: 'first devices',
    labels: {},
    requiresApproval: false,
    maxUses: MAX_USES,
    expiresInSeconds: EXPIRES_IN_SECONDS,
  });
  return secret;
}
