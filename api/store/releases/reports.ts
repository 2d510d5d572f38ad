import { and, eq, gte, ne, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { devices, models, releaseReports, releases } from '../schema.ts';

/** Keeps a device's report about a version in the place of the one before. */
export async function putReport(q: Queryable, report: typeof releaseReports.$inferInsert): Promise<void> {
  const { numExamples, metrics, receivedAt } = report;
  await q
    .insert(releaseReports)
    .values(report)
    .onConflictDoUpdate({
      target: [releaseReports.modelId, releaseReports.version, releaseReports.deviceId],
      set: { numExamples, metrics, receivedAt },
    });
}

/** What devices, those that are revoked left out, reported of one metric of a version since then. */
export async function listMeasured(
  q: Queryable,
  { federationId, model, version }: { federationId: string; model: string; version: number },
  { metric, since }: { metric: string; since: Date },
): Promise<{ value: number; numExamples: number }[]> {
  const value = sql<number | null>`(${releaseReports.metrics} ->> ${metric})::float8`;
  const rows = await q
    .select({ value, numExamples: releaseReports.numExamples })
    .from(releaseReports)
    .innerJoin(models, eq(models.id, releaseReports.modelId))
    .innerJoin(devices, eq(devices.id, releaseReports.deviceId))
    .where(
      and(
        eq(models.federationId, federationId),
        eq(models.name, model),
        eq(releaseReports.version, version),
        gte(releaseReports.receivedAt, since),
        ne(devices.state, 'revoked'),
      ),
    );
  return rows.flatMap(({ value, numExamples }) => (value === null ? [] : [{ value, numExamples }]));
}

/** Forgets the oldest reports, at most `limit`, that came before; those of versions that a release decides about stay. */
export async function forgetReports(q: Queryable, before: Date, limit: number): Promise<number> {
  const rows = await q.execute(sql`
    delete from ${releaseReports} where ctid in (
      select ${releaseReports}.ctid from ${releaseReports}
      where ${releaseReports.receivedAt} < ${before.toISOString()}::timestamptz and not exists (
        select 1 from ${releases} join ${models}
          on ${models.federationId} = ${releases.federationId} and ${models.name} = ${releases.model}
        where ${models.id} = ${releaseReports.modelId} and ${releases.version} = ${releaseReports.version}
          and ${releases.state} <> 'superseded')
      order by ${releaseReports.receivedAt} limit ${limit}
    ) returning 1`);
  return rows.length;
}

/** Forgets what a device reported. */
export async function removeReports(tx: Queryable, deviceId: string): Promise<void> {
  await tx.delete(releaseReports).where(eq(releaseReports.deviceId, deviceId));
}
