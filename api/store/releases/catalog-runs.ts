import { and, asc, eq } from 'drizzle-orm';
import type { RunState } from '../../domain/run.ts';
import type { Queryable } from '../database.ts';
import { catalogRuns, runs } from '../schema.ts';

export type CatalogRunRow = typeof catalogRuns.$inferSelect;

/** The run files that the server knows, with the state of their last run. */
export function listCatalogRuns(
  q: Queryable,
  federationId: string,
): Promise<(CatalogRunRow & { state: RunState | null })[]> {
  return q
    .select({
      federationId: catalogRuns.federationId,
      name: catalogRuns.name,
      contentHash: catalogRuns.contentHash,
      runId: catalogRuns.runId,
      dueAt: catalogRuns.dueAt,
      state: runs.state,
    })
    .from(catalogRuns)
    .leftJoin(runs, eq(runs.id, catalogRuns.runId))
    .where(eq(catalogRuns.federationId, federationId))
    .orderBy(asc(catalogRuns.name));
}

export async function putCatalogRun(q: Queryable, run: CatalogRunRow): Promise<void> {
  const { contentHash, runId, dueAt } = run;
  await q
    .insert(catalogRuns)
    .values(run)
    .onConflictDoUpdate({
      target: [catalogRuns.federationId, catalogRuns.name],
      set: { contentHash, runId, dueAt },
    });
}

export async function removeCatalogRun(q: Queryable, federationId: string, name: string): Promise<void> {
  await q
    .delete(catalogRuns)
    .where(and(eq(catalogRuns.federationId, federationId), eq(catalogRuns.name, name)));
}
