import { expect, it } from 'vitest';
import { newId } from '../../api/store/ids.ts';

it('an id is a UUID of version 7: its time, then what nobody can guess', () => {
  const now = new Date('2026-03-04T05:06:07.089Z');
  const ids = Array.from({ length: 1000 }, () => newId(now));
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  for (const id of ids) expect(Number.parseInt(id.slice(0, 13).replace('-', ''), 16)).toBe(now.getTime());
  expect(new Set(ids).size).toBe(1000);
  // Every hexadecimal digit after the time varies, but for the version's.
  const random = [15, 16, 17, 19, 20, 21, 22, ...Array.from({ length: 12 }, (_, index) => 24 + index)];
  for (const place of random) expect(new Set(ids.map((id) => id[place])).size).toBeGreaterThan(1);
});

it('ids sort by the time of their making', () => {
  const times = [0, 1, 2 ** 32, Date.now(), Date.now() + 1];
  const ids = times.map((time) => newId(new Date(time)));
  expect(ids.toSorted()).toEqual(ids);
});
