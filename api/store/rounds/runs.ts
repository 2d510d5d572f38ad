import { and, eq, getTableColumns, inArray } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { RunState } from '../../domain/run.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { models, runs } from '../schema.ts';

/** A run with the name of its model. */
export type RunView = typeof runs.$inferSelect & { model: string };

const fields = { ...getTableColumns(runs), model: models.name };

/** False: the model has a run that is not over. */
export async function insertRun(tx: Queryable, run: typeof runs.$inferInsert): Promise<boolean> {
  // The unique index on unfinished runs decides between any number of creators, on whichever replica.
  const rows = await tx.insert(runs).values(run).onConflictDoNothing().returning({ id: runs.id });
  return rows.length === 1;
}

export async function findRun(q: Queryable, federationId: string, id: string): Promise<RunView | undefined> {
  const rows = await q
    .select(fields)
    .from(runs)
    .innerJoin(models, eq(models.id, runs.modelId))
    .where(and(eq(runs.federationId, federationId), eq(runs.id, id)));
  return rows[0];
}

/** A federation's runs, of one model or in one state alone if given; one more than the page shows. */
export function listRuns(
  q: Queryable,
  { federationId, model, state }: { federationId: string; model?: string; state?: RunState },
  page: Page,
): Promise<RunView[]> {
  return q
    .select(fields)
    .from(runs)
    .innerJoin(models, eq(models.id, runs.modelId))
    .where(
      and(
        eq(runs.federationId, federationId),
        model === undefined ? undefined : eq(models.name, model),
        state === undefined ? undefined : eq(runs.state, state),
        afterCursor(runs.id, page),
      ),
    )
    .orderBy(pageOrder(runs.id, page))
    .limit(page.limit + 1);
}

/** Moves a run that is in one of the states `from`. False: there is none such. */
export async function moveRun(
  tx: Queryable,
  { federationId, id, from }: { federationId: string; id: string; from: readonly RunState[] },
  to: { state: RunState; reason?: string; endedAt?: Date },
): Promise<boolean> {
  const rows = await tx
    .update(runs)
    .set(to)
    .where(and(eq(runs.federationId, federationId), eq(runs.id, id), inArray(runs.state, [...from])))
    .returning({ id: runs.id });
  return rows.length === 1;
}
