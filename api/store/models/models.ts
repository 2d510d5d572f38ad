import { and, eq, getTableColumns, inArray, isNull } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { hasOpenTrainRound } from '../rounds/rounds.ts';
import { models, modelVersions, runs } from '../schema.ts';

export type ModelRow = typeof models.$inferSelect;
export type ModelSummaryRow = Omit<ModelRow, 'manifest'>;

const { manifest: _, ...summaryFields } = getTableColumns(models);

/** False: the federation has a model of that name. */
export async function insertModel(tx: Queryable, model: typeof models.$inferInsert): Promise<boolean> {
  const rows = await tx.insert(models).values(model).onConflictDoNothing().returning({ id: models.id });
  return rows.length === 1;
}

/** A model with its manifest, which can be large. */
export async function findModel(
  q: Queryable,
  federationId: string,
  name: string,
): Promise<ModelRow | undefined> {
  const rows = await q
    .select()
    .from(models)
    .where(and(eq(models.federationId, federationId), eq(models.name, name)));
  return rows[0];
}

export async function findModelSummary(
  q: Queryable,
  federationId: string,
  name: string,
): Promise<ModelSummaryRow | undefined> {
  const rows = await q
    .select(summaryFields)
    .from(models)
    .where(and(eq(models.federationId, federationId), eq(models.name, name)));
  return rows[0];
}

/** A federation's models by id, one more than the page shows. */
export function listModels(q: Queryable, federationId: string, page: Page): Promise<ModelSummaryRow[]> {
  return q
    .select(summaryFields)
    .from(models)
    .where(and(eq(models.federationId, federationId), afterCursor(models.id, page)))
    .orderBy(pageOrder(models.id, page))
    .limit(page.limit + 1);
}

/**
 * Locks a model against other writers and against new runs: inserting a run takes a key-share lock of its model's row,
 * which waits for this one. A run that was committed before is seen by `hasOpenRun` afterwards.
 */
export async function lockModel(tx: Queryable, modelId: string): Promise<ModelSummaryRow> {
  const rows = await tx.select(summaryFields).from(models).where(eq(models.id, modelId)).for('update');
  return rows[0]!;
}

/** True while a run of the model is not over, or a round of one that was stopped may still publish. */
export async function hasOpenRun(q: Queryable, modelId: string): Promise<boolean> {
  const rows = await q
    .select({ id: runs.id })
    .from(runs)
    .where(and(eq(runs.modelId, modelId), inArray(runs.state, ['active', 'paused'])))
    .limit(1);
  return rows.length > 0 || hasOpenTrainRound(q, modelId);
}

/** Compare-and-set. False: the head is not `from` any more. */
export async function moveHead(
  tx: Queryable,
  modelId: string,
  from: number | null,
  to: number,
): Promise<boolean> {
  const rows = await tx
    .update(models)
    .set({ head: to })
    .where(and(eq(models.id, modelId), from === null ? isNull(models.head) : eq(models.head, from)))
    .returning({ id: models.id });
  return rows.length === 1;
}

/** Sets the evaluation set of a locked model; its head is to be scored anew. */
export async function setEvaluationSet(
  tx: Queryable,
  model: ModelSummaryRow,
  set: { key: string; digest: string; examples: number },
): Promise<void> {
  await tx
    .update(models)
    .set({ evaluationKey: set.key, evaluationDigest: set.digest, evaluationExamples: set.examples })
    .where(eq(models.id, model.id));
  if (model.head === null) return;
  await tx
    .update(modelVersions)
    .set({ score: null })
    .where(and(eq(modelVersions.modelId, model.id), eq(modelVersions.version, model.head)));
}
