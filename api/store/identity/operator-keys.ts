import { and, eq, gt, isNull, sql } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Role } from '../../domain/role.ts';
import type { Queryable } from '../database.ts';
import { federations, operatorKeys } from '../schema.ts';

export type OperatorKeyRow = typeof operatorKeys.$inferSelect;

export interface NewOperatorKey {
  id: string;
  federationId: string;
  name: string;
  role: Role;
  secretHash: string;
  createdAt: Date;
}

/** Makes the federation if there is none yet. */
export async function ensureFederationRow(q: Queryable, id: string, now: Date): Promise<void> {
  await q.insert(federations).values({ id, createdAt: now }).onConflictDoNothing();
}

/** Changes to a federation's operator keys wait for each other, so that two never revoke the last two at once. */
export async function lockOperatorKeys(tx: Queryable, federationId: string): Promise<void> {
  await tx.select().from(federations).where(eq(federations.id, federationId)).for('update');
}

/** False: there is a key with this secret already, maybe a revoked one. */
export async function insertOperatorKey(tx: Queryable, key: NewOperatorKey): Promise<boolean> {
  const rows = await tx
    .insert(operatorKeys)
    .values(key)
    .onConflictDoNothing({ target: operatorKeys.secretHash })
    .returning({ id: operatorKeys.id });
  return rows.length > 0;
}

/** The key with this secret that is not revoked, in whichever federation. */
export async function findOperatorKeyBySecret(
  q: Queryable,
  secretHash: string,
): Promise<OperatorKeyRow | undefined> {
  const rows = await q
    .select()
    .from(operatorKeys)
    .where(and(eq(operatorKeys.secretHash, secretHash), isNull(operatorKeys.revokedAt)));
  return rows[0];
}

export async function findOperatorKey(
  q: Queryable,
  federationId: string,
  id: string,
): Promise<OperatorKeyRow | undefined> {
  const rows = await q
    .select()
    .from(operatorKeys)
    .where(and(eq(operatorKeys.id, id), eq(operatorKeys.federationId, federationId)));
  return rows[0];
}

/** Keys in the order of their making, one more than the page takes. */
export function listOperatorKeys(q: Queryable, federationId: string, page: Page): Promise<OperatorKeyRow[]> {
  return q
    .select()
    .from(operatorKeys)
    .where(
      and(
        eq(operatorKeys.federationId, federationId),
        page.after === undefined ? undefined : gt(operatorKeys.id, page.after),
      ),
    )
    .orderBy(operatorKeys.id)
    .limit(page.limit + 1);
}

/** How many keys of the federation are valid and have the role `operator`. */
export async function countOperators(q: Queryable, federationId: string): Promise<number> {
  const rows = await q
    .select({ count: sql<number>`count(*)::int` })
    .from(operatorKeys)
    .where(
      and(
        eq(operatorKeys.federationId, federationId),
        eq(operatorKeys.role, 'operator'),
        isNull(operatorKeys.revokedAt),
      ),
    );
  return rows[0]!.count;
}

/** False: it was revoked before. */
export async function markOperatorKeyRevoked(tx: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await tx
    .update(operatorKeys)
    .set({ revokedAt: now })
    .where(and(eq(operatorKeys.id, id), isNull(operatorKeys.revokedAt)))
    .returning({ id: operatorKeys.id });
  return rows.length > 0;
}
