import { afterAll, beforeAll, expect, it } from 'vitest';
import { touchDevices } from '../../api/store/identity/devices.ts';
import { createTestApp, type TestApp } from '../support/app.ts';

let t: TestApp;
let ids: string[];

beforeAll(async () => {
  t = await createTestApp();
  const token = { maxUses: 10 };
  ids = (await Promise.all([1, 2, 3].map(() => t.enrolDevice({ token })))).map(({ id }) => id);
});
afterAll(() => t.close());

async function seen(): Promise<(number | null)[]> {
  const rows = await t.deps.db.client`select id, last_seen_at from devices`;
  const times = new Map(rows.map(({ id, last_seen_at }) => [id as string, last_seen_at as string | null]));
  return ids.map((id) => {
    const time = times.get(id);
    return time ? new Date(time).getTime() : null;
  });
}

it('touches the named devices, and none again within 20 s', async () => {
  const start = t.clock.now();
  const after = (ms: number) => new Date(start.getTime() + ms);
  await touchDevices(t.deps.db.pool, [], start);
  expect(await seen()).toEqual([null, null, null]);
  await touchDevices(t.deps.db.pool, ids.slice(0, 2), start);
  expect(await seen()).toEqual([start.getTime(), start.getTime(), null]);
  await touchDevices(t.deps.db.pool, ids, after(20_000));
  expect(await seen()).toEqual([start.getTime(), start.getTime(), start.getTime() + 20_000]);
  await touchDevices(t.deps.db.pool, ids, after(20_001));
  const touched = start.getTime() + 20_001;
  expect(await seen()).toEqual([touched, touched, start.getTime() + 20_000]);
});

it('may be called for the same devices in any order by several at once', async () => {
  const now = new Date(t.clock.now().getTime() + 600_000);
  const orders = Array.from({ length: 8 }, (_, i) => (i % 2 ? ids : ids.toReversed()));
  await Promise.all(orders.map((order) => touchDevices(t.deps.db.pool, order, now)));
  expect(await seen()).toEqual(ids.map(() => now.getTime()));
});
