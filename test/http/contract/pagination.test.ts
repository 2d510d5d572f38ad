import { describe, expect, it } from 'vitest';
import { decodeCursor, encodeCursor, readPage, toPage } from '../../../api/http/contract/pagination.ts';

const id = '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44';
const shape = { item: (row: number) => row * 10, cursor: (row: number) => row };

describe('cursors', () => {
  it('round-trip ids and positions', () => {
    expect(decodeCursor(encodeCursor(id))).toBe(id);
    expect(decodeCursor(encodeCursor(42), 'position')).toBe('42');
  });

  it.each([
    ['empty', ''],
    ['not base64', '%%%'],
    ['a bare id', id],
    ['another prefix', Buffer.from(`2:${id}`).toString('base64url')],
    ['padded', `${encodeCursor(id)}=`],
    ['a position in a list of ids', encodeCursor(7)],
    ['something injected', encodeCursor(`${id}' or 1=1`)],
  ])('refuse what is not ours: %s', (_name, cursor) => {
    expect(() => decodeCursor(cursor)).toThrow(expect.objectContaining({ code: 'invalid_cursor' }));
  });

  it('refuse an id in a list of positions', () => {
    expect(() => readPage({ limit: 1, cursor: encodeCursor(id) }, 'position')).toThrow('invalid_cursor');
  });
});

describe('toPage', () => {
  it('names the next cursor only if a row follows', () => {
    expect(toPage([1, 2, 3], 2, shape)).toEqual({ items: [10, 20], nextCursor: encodeCursor(2) });
    expect(toPage([1, 2], 2, shape)).toEqual({ items: [10, 20] });
    expect(toPage([], 2, shape)).toEqual({ items: [] });
  });
});
