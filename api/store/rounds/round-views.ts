import { and, asc, eq, getTableColumns, gt } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { RoundKind } from '../../domain/round.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { models, modelVersions, rounds, updates } from '../schema.ts';

const roundFields = { ...getTableColumns(rounds), model: models.name, score: modelVersions.score };

function selectRounds(q: Queryable) {
  return q
    .select(roundFields)
    .from(rounds)
    .innerJoin(models, eq(models.id, rounds.modelId))
    .leftJoin(modelVersions, eq(modelVersions.roundId, rounds.id));
}

/** A round with the name of its model, and what the version that it published scored. */
export type RoundView = Awaited<ReturnType<typeof selectRounds>>[number];

/** What an operator may see of an update: its seal is a secret. */
const { seal: _secret, ...updateFields } = getTableColumns(updates);
export type UpdateView = Omit<typeof updates.$inferSelect, 'seal'>;

export async function findRound(
  q: Queryable,
  federationId: string,
  id: string,
): Promise<RoundView | undefined> {
  const rows = await selectRounds(q).where(and(eq(rounds.federationId, federationId), eq(rounds.id, id)));
  return rows[0];
}

/** A run's rounds, of one kind alone if given; one more than the page shows. */
export function listRounds(
  q: Queryable,
  { runId, kind }: { runId: string; kind?: RoundKind },
  page: Page,
): Promise<RoundView[]> {
  return selectRounds(q)
    .where(
      and(
        eq(rounds.runId, runId),
        kind === undefined ? undefined : eq(rounds.kind, kind),
        afterCursor(rounds.id, page),
      ),
    )
    .orderBy(pageOrder(rounds.id, page))
    .limit(page.limit + 1);
}

/** A round's updates in the order of folding; one more than the page shows. */
export function listUpdates(q: Queryable, roundId: string, page: Page): Promise<UpdateView[]> {
  return q
    .select(updateFields)
    .from(updates)
    .where(and(eq(updates.roundId, roundId), gt(updates.sequence, Number(page.after ?? 0))))
    .orderBy(asc(updates.sequence))
    .limit(page.limit + 1);
}
