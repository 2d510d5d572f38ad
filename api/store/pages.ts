import { asc, desc, gt, lt, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import type { Page } from '../domain/page.ts';

/** The rows of a page come after its cursor in the order of `column`, which is unique within the list. */
export function afterCursor(column: PgColumn, { after, newestFirst }: Page): SQL | undefined {
  if (after === undefined) return undefined;
  return newestFirst ? lt(column, after) : gt(column, after);
}

export function pageOrder(column: PgColumn, { newestFirst }: Page): SQL {
  return newestFirst ? desc(column) : asc(column);
}
