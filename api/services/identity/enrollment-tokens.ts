import type { Deps } from '../../deps.ts';
import type { Labels } from '../../domain/device.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import * as store from '../../store/identity/enrollment-tokens.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { actorOf } from './actors.ts';
import { hashSecret, newSecret, secretPrefixes } from './secrets.ts';

export interface EnrollmentTokenInput {
  name: string;
  labels: Labels;
  requiresApproval: boolean;
  maxUses: number;
  expiresInSeconds: number;
}

/** Makes an enrolment token. Its secret is in this answer and nowhere else: only a hash of it is stored. */
export async function createEnrollmentToken(
  deps: Pick<Deps, 'db' | 'clock'>,
  principal: Principal,
  { expiresInSeconds, ...input }: EnrollmentTokenInput,
): Promise<{ token: store.EnrollmentTokenRow; secret: string }> {
  const now = deps.clock.now();
  const { federationId } = principal;
  const secret = newSecret(secretPrefixes.enrollmentToken);
  const token = await deps.db.transaction(async (tx) => {
    const row = await store.insertEnrollmentToken(tx, {
      ...input,
      id: newId(now),
      federationId,
      secretHash: hashSecret(secret),
      expiresAt: new Date(now.getTime() + expiresInSeconds * 1000),
      createdAt: now,
    });
    await recordAudit(tx, {
      federationId,
      actor: actorOf(principal),
      action: 'enrollment_token.create',
      target: `enrollment_token:${row.id}`,
      details: { ...input, expiresAt: row.expiresAt.toISOString() },
      createdAt: now,
    });
    return row;
  });
  return { token, secret };
}

export function listEnrollmentTokens(
  deps: Deps,
  principal: Principal,
  page: Page,
): Promise<store.EnrollmentTokenRow[]> {
  return store.listEnrollmentTokens(deps.db.pool, principal.federationId, page);
}

/** Nobody enrols with the token any more; devices that did stay. Idempotent. Throws `not_found`. */
export async function revokeEnrollmentToken(deps: Deps, principal: Principal, id: string): Promise<void> {
  const now = deps.clock.now();
  const { federationId } = principal;
  await deps.db.transaction(async (tx) => {
    const revoked = await store.markEnrollmentTokenRevoked(tx, federationId, id, now);
    if (!revoked) throw new FedEdgeError('not_found');
    if (!revoked.changed) return;
    await recordAudit(tx, {
      federationId,
      actor: actorOf(principal),
      action: 'enrollment_token.revoke',
      target: `enrollment_token:${id}`,
      details: {},
      createdAt: now,
    });
  });
}
