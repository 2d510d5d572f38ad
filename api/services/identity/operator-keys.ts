import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal, Role } from '../../domain/role.ts';
import type { Queryable } from '../../store/database.ts';
import * as store from '../../store/identity/operator-keys.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { actorOf } from './actors.ts';
import { hashSecret, newSecret, secretPrefixes } from './secrets.ts';

export function listOperatorKeys(
  deps: Deps,
  principal: Principal,
  page: Page,
): Promise<store.OperatorKeyRow[]> {
  return store.listOperatorKeys(deps.db.pool, principal.federationId, page);
}

/** Makes an operator key. Its secret is in this answer and nowhere else: only a hash of it is stored. */
export async function createOperatorKey(
  deps: Deps,
  principal: Principal,
  { name, role }: { name: string; role: Role },
): Promise<{ key: store.OperatorKeyRow; secret: string }> {
  const now = deps.clock.now();
  const secret = newSecret(secretPrefixes.operatorKey);
  const { federationId } = principal;
  const key = { id: newId(now), federationId, name, role, secretHash: hashSecret(secret), createdAt: now };
  await deps.db.transaction(async (tx) => {
    await store.insertOperatorKey(tx, key);
    await audit(tx, principal, 'operator_key.create', key);
  });
  return { key: { ...key, revokedAt: null }, secret };
}

/**
 * The key is refused from now on. Idempotent. Throws `not_found`, and `conflict` for the last key with the role
 * `operator`: without one nobody could manage the federation.
 */
export async function revokeOperatorKey(deps: Deps, principal: Principal, id: string): Promise<void> {
  const { federationId } = principal;
  await deps.db.transaction(async (tx) => {
    await store.lockOperatorKeys(tx, federationId);
    const key = await store.findOperatorKey(tx, federationId, id);
    if (!key) throw new FedEdgeError('not_found');
    if (key.revokedAt) return;
    if (key.role === 'operator' && (await store.countOperators(tx, federationId)) === 1) {
      throw new FedEdgeError('conflict', { reason: 'last_operator_key' });
    }
    const now = deps.clock.now();
    await store.markOperatorKeyRevoked(tx, id, now);
    await audit(tx, principal, 'operator_key.revoke', { ...key, createdAt: now });
    await notify(tx, channels.credentials, id);
  });
}

async function audit(
  tx: Queryable,
  principal: Principal,
  action: string,
  key: { id: string; name: string; role: Role; createdAt: Date },
): Promise<void> {
  await recordAudit(tx, {
    federationId: principal.federationId,
    actor: actorOf(principal),
    action,
    target: `operator_key:${key.id}`,
    details: { name: key.name, role: key.role },
    createdAt: key.createdAt,
  });
}
