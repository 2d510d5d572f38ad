import { and, eq, max, sql } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { assignments, models, modelVersions, rounds } from '../schema.ts';

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

/**
 * A version's file by the model's name, the model's head, and whether an open assignment of the device, if one is given,
 * names the version.
 */
export async function findWeights(
  q: Queryable,
  asked: { federationId: string; name: string; version: number; deviceId?: string },
) {
  const { federationId, name, version, deviceId } = asked;
  const assigned = sql<boolean>`exists (select 1 from ${assignments}
    join ${rounds} on ${rounds.id} = ${assignments.roundId}
    where ${assignments.deviceId} = ${deviceId ?? null}::uuid and ${assignments.state} = 'open'
      and ${rounds.modelId} = ${models.id} and ${rounds.baseVersion} = ${version})`;
  const rows = await q
    .select({
      blobKey: modelVersions.blobKey,
      digest: modelVersions.digest,
      bytes: modelVersions.bytes,
      head: models.head,
      isAssigned: assigned,
    })
    .from(models)
    .innerJoin(modelVersions, and(eq(modelVersions.modelId, models.id), eq(modelVersions.version, version)))
    .where(and(eq(models.federationId, federationId), eq(models.name, name)));
  return rows[0];
}
