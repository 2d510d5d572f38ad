import { and, asc, eq, gt, inArray, isNotNull, max } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { afterCursor, pageOrder } from '../pages.ts';
import { auditEntries, events } from '../schema.ts';
import type { AuditRow } from './journal.ts';

export type EventRow = typeof events.$inferSelect & { position: number };

/** The position of the last numbered event, 0 if there is none. */
export async function lastEventPosition(q: Queryable): Promise<number> {
  const rows = await q.select({ last: max(events.position) }).from(events);
  return Number(rows[0]?.last ?? 0);
}

/** Numbered events of a federation after a position, in order; of the given types alone if there are any. */
export async function listEvents(
  q: Queryable,
  { federationId, after, types }: { federationId: string; after: number; types: readonly string[] },
  limit: number,
): Promise<EventRow[]> {
  const rows = await q
    .select()
    .from(events)
    .where(
      and(
        eq(events.federationId, federationId),
        gt(events.position, after),
        types.length > 0 ? inArray(events.type, [...types]) : undefined,
      ),
    )
    .orderBy(asc(events.position))
    .limit(limit);
  return rows as EventRow[];
}

/** A federation's audit entries that are chained; one more than the page shows. */
export function listAudit(q: Queryable, federationId: string, page: Page): Promise<AuditRow[]> {
  return q
    .select()
    .from(auditEntries)
    .where(
      and(
        eq(auditEntries.federationId, federationId),
        isNotNull(auditEntries.position),
        afterCursor(auditEntries.position, page),
      ),
    )
    .orderBy(pageOrder(auditEntries.position, page))
    .limit(page.limit + 1);
}
