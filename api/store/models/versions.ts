import { and, eq, max } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { assignments, modelVersions, rounds } from '../schema.ts';

export type VersionRow = typeof modelVersions.$inferSelect;

export async function insertVersion(
  tx: Queryable,
  version: typeof modelVersions.$inferInsert,
): Promise<VersionRow> {
  const rows = await tx.insert(modelVersions).values(version).returning();
  return rows[0]!;
}

/** The number after the last one: versions of a model are gapless. The caller has locked the model. */
export async function nextVersion(tx: Queryable, modelId: string): Promise<number> {
  const rows = await tx
    .select({ last: max(modelVersions.version) })
    .from(modelVersions)
    .where(eq(modelVersions.modelId, modelId));
  return (rows[0]?.last ?? 0) + 1;
}

export async function findVersion(
  q: Queryable,
  modelId: string,
  version: number,
): Promise<VersionRow | undefined> {
  const rows = await q
    .select()
    .from(modelVersions)
    .where(and(eq(modelVersions.modelId, modelId), eq(modelVersions.version, version)));
  return rows[0];
}

/** A model's versions in order, one more than the page shows. */
export function listVersions(q: Queryable, modelId: string, page: Page): Promise<VersionRow[]> {
  return q
    .select()
    .from(modelVersions)
    .where(and(eq(modelVersions.modelId, modelId), afterCursor(modelVersions.version, page)))
    .orderBy(pageOrder(modelVersions.version, page))
    .limit(page.limit + 1);
}

/** The first version of a model that has these bytes. */
export async function findVersionByDigest(
  q: Queryable,
  modelId: string,
  digest: string,
): Promise<VersionRow | undefined> {
  const rows = await q
    .select()
    .from(modelVersions)
    .where(and(eq(modelVersions.modelId, modelId), eq(modelVersions.digest, digest)))
    .orderBy(modelVersions.version)
    .limit(1);
  return rows[0];
}

/** True if an open assignment of the device names the version. */
export async function isAssigned(
  q: Queryable,
  deviceId: string,
  modelId: string,
  version: number,
): Promise<boolean> {
  const named = await q
    .select({ id: assignments.id })
    .from(assignments)
    .innerJoin(rounds, eq(rounds.id, assignments.roundId))
    .where(
      and(
        eq(assignments.deviceId, deviceId),
        eq(assignments.state, 'open'),
        eq(rounds.modelId, modelId),
        eq(rounds.baseVersion, version),
      ),
    )
    .limit(1);
  return named.length > 0;
}
