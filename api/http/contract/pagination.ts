import { z } from '@hono/zod-openapi';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;
const CURSOR_PREFIX = '1:';

/** What a list is ordered and continued by: a UUID of version 7, or a number such as a position. */
type CursorKind = 'id' | 'position';
const shapes: Record<CursorKind, RegExp> = {
  id: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  position: /^\d{1,15}$/,
};

/** The query parameters of every list. */
export const pageQuery = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_LIMIT)
    .default(DEFAULT_LIMIT)
    .openapi({ description: 'Most items in the answer.', example: DEFAULT_LIMIT }),
  cursor: z
    .string()
    .max(200)
    .optional()
    .openapi({
      description: '`nextCursor` of the page before, as it is. Without it the list begins.',
      example: encodeCursor('0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44'),
    }),
});

/** For lists that grow for long: where to begin. */
export const orderedPageQuery = pageQuery.extend({
  order: z
    .enum(['oldest', 'newest'])
    .default('oldest')
    .openapi({ description: 'Which items come first. Keep it while you follow cursors.' }),
});

/** The document's schema of a page. `name` is the component's: `DevicePage`. */
export function pageOf<S extends z.ZodType>(item: S, name: string) {
  return z
    .object({
      items: z.array(item).max(MAX_LIMIT),
      nextCursor: z
        .string()
        .max(200)
        .optional()
        .openapi({ description: 'The `cursor` of the next page. Absent on the last one.' }),
    })
    .openapi(name);
}

/** The page that a list request asks for. Throws `invalid_cursor`. */
export function readPage(
  query: z.infer<typeof pageQuery> & { order?: 'oldest' | 'newest' },
  kind: CursorKind = 'id',
): Page {
  return {
    limit: query.limit,
    after: query.cursor === undefined ? undefined : decodeCursor(query.cursor, kind),
    newestFirst: query.order === 'newest',
  };
}

/** Shapes rows as a page. The query asks for one row more than `limit`: it tells whether a page follows. */
export function toPage<R, I>(
  rows: readonly R[],
  limit: number,
  shape: { item: (row: R) => I; cursor: (row: R) => string | number },
): { items: I[]; nextCursor?: string } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(shape.item);
  return rows.length > limit && last ? { items, nextCursor: encodeCursor(shape.cursor(last)) } : { items };
}

/** An opaque cursor: its inside may change, so clients never make their own. */
export function encodeCursor(last: string | number): string {
  return Buffer.from(`${CURSOR_PREFIX}${last}`).toString('base64url');
}

/** The id or position inside of a cursor. Throws `invalid_cursor`. */
export function decodeCursor(cursor: string, kind: CursorKind = 'id'): string {
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const last = text.slice(CURSOR_PREFIX.length);
  if (!text.startsWith(CURSOR_PREFIX) || !shapes[kind].test(last) || encodeCursor(last) !== cursor) {
    throw new FedEdgeError('invalid_cursor');
  }
  return last;
}
