import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Deps } from '../../api/deps.ts';
import { createWaitingRoom } from '../../api/services/rounds/waiting-room.ts';
import { runWorker } from '../../api/services/worker.ts';
import { channels } from '../../api/store/journal/channels.ts';
import { createTestApp, type TestApp } from '../support/app.ts';
import { inChunks } from '../support/blobs.ts';
import { seedFederation, sendUpdate, view } from '../support/rounds/rounds.ts';

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(() => {
  vi.useRealTimers();
  return test.close();
});

const ones = Array<number>(8).fill(1);

/** Counts what is asked of the pool and the transactions that are begun. */
function counting(deps: Deps) {
  let asked = 0;
  const count = <T extends object>(target: T, names: string[]): T =>
    new Proxy(target, {
      get: (object, name) => {
        if (names.includes(String(name))) asked += 1;
        return Reflect.get(object, name);
      },
    });
  const pool = count(deps.db.pool, ['select', 'update', 'execute', 'insert', 'delete']);
  const db = count({ ...deps.db, pool }, ['transaction']);
  return { deps: { ...deps, db }, asked: () => asked };
}

it('a worker asks hardly anything while nothing happens', async () => {
  const { deps, asked } = counting(test.deps);
  // A run that waits for devices, and one whose end has passed while its round is open.
  await seedFederation(test.deps, { devices: 1, labels: { site: 'waits' } });
  const open = await seedFederation(test.deps, { devices: 2, labels: { site: 'open' } });
  const over = new AbortController();
  const working = runWorker(deps, { signal: over.signal });
  await vi.waitFor(async () =>
    expect(await view.rounds(test.deps, open.runId)).toMatchObject([{ state: 'collecting' }]),
  );
  const past = new Date(test.clock.now().getTime() - 1000);
  await test.deps.db.client`update runs set end_at = ${past.toISOString()} where id = ${open.runId}`;
  await setTimeout(500);
  const before = asked();
  await setTimeout(1000);
  // The folder looks ten times a second while a round collects; nothing else has anything to do.
  expect(asked() - before).toBeLessThan(30);
  over.abort();
  await working;
});

it('the fold trails the intake from the beginning of a round', async () => {
  await Promise.all(Array.from({ length: 8 }, () => test.deps.db.client`select pg_sleep(0.1)`));
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  const over = new AbortController();
  const working = runWorker(test.deps, { signal: over.signal });
  const room = createWaitingRoom(test.deps);
  const { devices } = await seedFederation(test.deps, { devices: 2, settings: { quorum: 2, capacity: 2 } });
  await test.deps.db.client`select pg_notify(${channels.work}, '')`;
  const polled = await room.wait(devices[0]!, 30_000, over.signal);
  if (polled.status === 'none') throw new Error('nothing to do');
  await sendUpdate(test.deps, { id: polled.assignment.id, device: devices[0]! }, ones);
  // One of two: nobody is woken. A look without a wake would come after five seconds of these timers.
  const folded = async () => (await test.deps.metrics.foldedBytes.get()).values[0]?.value;
  for (let ms = 0; ms < 4000 && !(await folded()); ms += 20) {
    vi.advanceTimersByTime(20);
    await test.deps.db.client`select pg_sleep(0.02)`;
  }
  over.abort();
  await working;
  expect(await folded()).toBeGreaterThan(0);
});

it('every step of a round is woken by the one before: rounds go on where no timer ever ends', async () => {
  // The driver opens connections by a timer: all that it may open are there before.
  await Promise.all(Array.from({ length: 8 }, () => test.deps.db.client`select pg_sleep(0.1)`));
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  const settings = { rounds: 5, quorum: 2, capacity: 2 };
  const over = new AbortController();
  const working = runWorker(test.deps, { signal: over.signal });
  const room = createWaitingRoom(test.deps);
  const { devices, runId } = await seedFederation(test.deps, { devices: 2, settings });
  await test.deps.db.client`select pg_notify(${channels.work}, '')`;
  await Promise.all(
    devices.map(async (device) => {
      for (let i = 0; i < settings.rounds; i += 1) {
        const polled = await room.wait(device, 30_000, over.signal);
        if (polled.status === 'none') throw new Error('nothing to do');
        await sendUpdate(test.deps, { id: polled.assignment.id, device }, ones);
      }
    }),
  );
  while ((await view.run(test.deps, runId)).state === 'active');
  over.abort();
  await working;
  vi.useRealTimers();
  const rounds = await view.rounds(test.deps, runId);
  expect(rounds.map(({ state }) => state)).toEqual(Array(5).fill('completed'));
});

it('a worker that stops in the middle of a file stops at once and leaves the rest to another', async () => {
  const { blobs } = test.deps;
  const reading = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const slow: Deps = {
    ...test.deps,
    blobs: {
      ...blobs,
      read: inChunks(async function* (key, range) {
        if (!range) {
          reading.resolve();
          await held.promise;
        }
        yield* blobs.read(key, range);
      }),
    },
  };
  const over = new AbortController();
  const working = runWorker(slow, { signal: over.signal });
  const { devices, runId, modelId } = await seedFederation(test.deps, {
    devices: 2,
    settings: { capacity: 2 },
  });
  await test.deps.db.client`select pg_notify(${channels.work}, '')`;
  const room = createWaitingRoom(test.deps);
  for (const device of devices) {
    const polled = await room.wait(device, 30_000, over.signal);
    if (polled.status === 'none') throw new Error('nothing to do');
    await sendUpdate(test.deps, { id: polled.assignment.id, device }, ones);
  }
  await reading.promise;
  over.abort();
  held.resolve();
  await working;
  expect(await view.rounds(test.deps, runId)).toMatchObject([{ state: 'aggregating' }]);
  const again = new AbortController();
  const workingAgain = runWorker(test.deps, { signal: again.signal });
  await vi.waitFor(async () => expect(await view.versions(test.deps, modelId)).toHaveLength(2), 10_000);
  again.abort();
  await workingAgain;
});
