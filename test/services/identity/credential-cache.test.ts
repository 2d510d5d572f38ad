import { expect, it } from 'vitest';
import { cached, createCredentialCache } from '../../../api/store/identity/credential-cache.ts';

const at = (ms: number) => new Date(1_700_000_000_000 + ms);

function setUp() {
  let wake: (payload: string) => void = () => {};
  const cache = createCredentialCache({
    subscribe: (_, listener) => {
      wake = listener;
      return () => {};
    },
  });
  let loads = 0;
  const load = async () => {
    loads += 1;
    return { owner: 'device-1', loads };
  };
  return { cache, load, wake: (payload: string) => wake(payload), loads: () => loads };
}

it('remembers for 15 s, and not into a past that a clock went back to', async () => {
  const { cache, load, loads } = setUp();
  for (const ms of [0, 14_999]) await cached(cache, { key: 'key', now: at(ms) }, load);
  expect(loads()).toBe(1);
  await cached(cache, { key: 'key', now: at(15_000) }, load);
  expect(loads()).toBe(2);
  await cached(cache, { key: 'key', now: at(14_000) }, load);
  expect(loads()).toBe(3);
});

it('remembers for longer what is said to last, unless its owner changed', async () => {
  const { cache, load, wake, loads } = setUp();
  const lasting = (ms: number) => cached(cache, { key: 'key', now: at(ms), ttlMs: 60_000 }, load);
  for (const ms of [0, 15_000, 59_999]) await lasting(ms);
  expect(loads()).toBe(1);
  await lasting(60_000);
  expect(loads()).toBe(2);
  wake('device-1');
  await lasting(60_001);
  expect(loads()).toBe(3);
});

it('forgets the owner that a notification names, and everybody after a reconnect', async () => {
  const { cache, load, wake, loads } = setUp();
  await cached(cache, { key: 'key', now: at(0) }, load);
  wake('device-2');
  await cached(cache, { key: 'key', now: at(1) }, load);
  expect(loads()).toBe(1);
  wake('device-1');
  await cached(cache, { key: 'key', now: at(2) }, load);
  expect(loads()).toBe(2);
  wake('');
  await cached(cache, { key: 'key', now: at(3) }, load);
  expect(loads()).toBe(3);
});

it('does not remember what was looked up before a notification and came after it', async () => {
  const { cache, load, wake, loads } = setUp();
  const slow = Promise.withResolvers<void>();
  const looked = cached(cache, { key: 'key', now: at(0) }, async () => {
    const value = await load();
    await slow.promise;
    return value;
  });
  wake('device-1');
  slow.resolve();
  expect(await looked).toMatchObject({ loads: 1 });
  await cached(cache, { key: 'key', now: at(1) }, load);
  expect(loads()).toBe(2);
});

it('does not remember that there is none', async () => {
  const { cache, load } = setUp();
  expect(await cached(cache, { key: 'key', now: at(0) }, async () => undefined)).toBeUndefined();
  expect(await cached(cache, { key: 'key', now: at(1) }, load)).toMatchObject({ loads: 1 });
});

it('is bounded: what was loaded longest ago goes first', async () => {
  const { cache, load } = setUp();
  for (let i = 0; i < 50_001; i++) await cached(cache, { key: `key ${i}`, now: at(i / 10_000) }, load);
  expect(cache.entries.size).toBe(50_000);
  expect(cache.entries.has('key 0')).toBe(false);
  expect(cache.entries.has('key 50000')).toBe(true);
});
