import type { Deps } from '../../../api/deps.ts';
import type { Principal } from '../../../api/domain/role.ts';
import { createEnrollmentToken } from '../../../api/services/identity/enrollment-tokens.ts';
import { createOperatorKey } from '../../../api/services/identity/operator-keys.ts';
import { ensureFederationRow } from '../../../api/store/identity/operator-keys.ts';

/** Another federation in the same database: what belongs to it must not be seen from the first one. */
export async function createFederation(deps: Deps, federationId: string) {
  await ensureFederationRow(deps.db.pool, federationId, deps.clock.now());
  const founder: Principal = { kind: 'operator', id: 'founder', federationId, role: 'operator' };
  const { key, secret } = await createOperatorKey(deps, founder, { name: 'founder', role: 'operator' });
  const token = await createEnrollmentToken(deps, founder, {
    name: 'founder',
    labels: {},
    requiresApproval: false,
    maxUses: 10,
    expiresInSeconds: 3600,
  });
  return {
    operatorKeyId: key.id,
    headers: { authorization: `Bearer ${secret}` },
    enrollmentTokenId: token.token.id,
    enrollmentToken: token.secret,
  };
}
