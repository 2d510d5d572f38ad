import { and, asc, eq, ne, notInArray, sql } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { releases } from '../schema.ts';

export type ReleaseRow = typeof releases.$inferSelect;

/** What of a release changes; the content never does. */
export type ReleaseChange = Partial<
  Pick<
    ReleaseRow,
    'state' | 'outcome' | 'reason' | 'step' | 'stepSince' | 'version' | 'digest' | 'previous' | 'activatedAt'
  >
>;

/** The model's release that is not superseded must have made way before. */
export async function insertRelease(
  tx: Queryable,
  release: typeof releases.$inferInsert,
): Promise<ReleaseRow> {
  const rows = await tx.insert(releases).values(release).returning();
  return rows[0]!;
}

export async function findRelease(
  q: Queryable,
  federationId: string,
  id: string,
): Promise<ReleaseRow | undefined> {
  const rows = await q
    .select()
    .from(releases)
    .where(and(eq(releases.federationId, federationId), eq(releases.id, id)));
  return rows[0];
}

/** The release that decides about a model now. */
export async function findActiveRelease(
  q: Queryable,
  federationId: string,
  model: string,
): Promise<ReleaseRow | undefined> {
  const rows = await q
    .select()
    .from(releases)
    .where(
      and(
        eq(releases.federationId, federationId),
        eq(releases.model, model),
        ne(releases.state, 'superseded'),
      ),
    );
  return rows[0];
}

export async function findReleaseOfContent(
  q: Queryable,
  { federationId, model, contentHash }: { federationId: string; model: string; contentHash: string },
): Promise<ReleaseRow | undefined> {
  const rows = await q
    .select()
    .from(releases)
    .where(
      and(
        eq(releases.federationId, federationId),
        eq(releases.model, model),
        eq(releases.contentHash, contentHash),
      ),
    );
  return rows[0];
}

/** Every release of a federation that is not superseded, by model. */
export function listActiveReleases(q: Queryable, federationId: string): Promise<ReleaseRow[]> {
  return q
    .select()
    .from(releases)
    .where(and(eq(releases.federationId, federationId), ne(releases.state, 'superseded')))
    .orderBy(asc(releases.model));
}

/** A federation's releases, of one model alone if given; one more than the page shows. */
export function listReleases(
  q: Queryable,
  { federationId, model }: { federationId: string; model?: string | undefined },
  page: Page,
): Promise<ReleaseRow[]> {
  return q
    .select()
    .from(releases)
    .where(
      and(
        eq(releases.federationId, federationId),
        model === undefined ? undefined : eq(releases.model, model),
        afterCursor(releases.id, page),
      ),
    )
    .orderBy(pageOrder(releases.id, page))
    .limit(page.limit + 1);
}

/**
 * Changes a release that is as the decision found it. Undefined: somebody was faster, such as an operator who halts it
 * while the reconcile takes a step. The revision is compared, since a release may leave a state and step and be there
 * again, of another version or with a bake time that has only begun, before a slow decision is written.
 */
export async function moveRelease(
  tx: Queryable,
  from: Pick<ReleaseRow, 'id' | 'revision'>,
  to: ReleaseChange,
): Promise<ReleaseRow | undefined> {
  const rows = await tx
    .update(releases)
    .set({ ...to, revision: nextRevision })
    .where(and(eq(releases.id, from.id), eq(releases.revision, from.revision)))
    .returning();
  return rows[0];
}

/**
 * Halts a release at whatever step it is: an operator's word does not lose against a step that is just being taken.
 * Undefined: there is none, or it is halted or superseded already.
 */
export async function haltRelease(
  tx: Queryable,
  federationId: string,
  id: string,
): Promise<ReleaseRow | undefined> {
  const rows = await tx
    .update(releases)
    .set({ state: 'halted', outcome: 'halted', reason: 'halted', revision: nextRevision })
    .where(
      and(
        eq(releases.federationId, federationId),
        eq(releases.id, id),
        notInArray(releases.state, ['halted', 'superseded']),
      ),
    )
    .returning();
  return rows[0];
}

const nextRevision = sql`${releases.revision} + 1`;
