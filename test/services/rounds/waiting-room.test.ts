import { setTimeout } from 'node:timers/promises';
import { inArray } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { createWaitingRoom } from '../../../api/services/rounds/waiting-room.ts';
import { channels } from '../../../api/store/journal/channels.ts';
import { devices } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import {
  type DevicePrincipal,
  openAssignments,
  seedDevices,
  seedFederation,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(() => test.close());

const LONG_MS = 60_000;
const never = () => new AbortController().signal;

/** Lets everything that was begun come to its next wait, the database included. */
async function settle(deps: Deps = test.deps): Promise<void> {
  for (let i = 0; i < 5; i += 1) await deps.db.client`select 1`;
  await setTimeout(20);
}

/** Resolves with a result, or with 'waiting' if there is none yet. */
async function peek<T>(polling: Promise<T>): Promise<T | 'waiting'> {
  await settle();
  return Promise.race([polling, setTimeout(10, 'waiting' as const)]);
}

/** Counts how often the workers are woken. */
function countWakes(deps: Deps): () => number {
  let wakes = 0;
  deps.listener.subscribe(channels.work, () => {
    wakes += 1;
  });
  return () => wakes;
}

describe('a device that polls', () => {
  it('gets the assignment that it has, the same at every poll', async () => {
    const { devices: principals } = await seedFederation(test.deps, { devices: 2 });
    await advanceRounds(test.deps);
    const room = createWaitingRoom(test.deps);
    const polls = await Promise.all([1, 2, 3].map(() => room.wait(principals[0]!, 0, never())));
    const [first] = polls;
    expect(first).toMatchObject({ status: 'assigned', assignment: { kind: 'train' } });
    for (const poll of polls) expect(poll).toEqual(first);
    expect(await room.wait(principals[0]!, LONG_MS, never())).toEqual(first);
  });

  it('is sent away with a delay when there is nothing', async () => {
    const [device] = await seedDevices(test.deps, 1);
    const room = createWaitingRoom(test.deps);
    const polled = await room.wait(device!, 0, never());
    expect(polled).toEqual({ status: 'none', retryAfterSeconds: 1 });
    const later = await room.wait(device!, 30, never());
    expect(later).toMatchObject({ status: 'none' });
  });

  it('is woken on whichever replica it waits, by every one of its polls', async () => {
    const { devices: principals } = await seedFederation(test.deps, { devices: 3, settings: { quorum: 3 } });
    const replica = (await test.replica()).deps;
    const here = createWaitingRoom(test.deps);
    const there = createWaitingRoom(replica);
    const polls = [
      here.wait(principals[0]!, LONG_MS, never()),
      there.wait(principals[0]!, LONG_MS, never()),
      there.wait(principals[0]!, LONG_MS, never()),
      there.wait(principals[1]!, LONG_MS, never()),
    ];
    expect(await peek(Promise.race(polls))).toBe('waiting');
    await advanceRounds(test.deps);
    const results = await Promise.all(polls);
    expect(results.map(({ status }) => status)).toEqual(Array(4).fill('assigned'));
  });

  it('gets its own among a cohort that is woken at once; other work comes in between', async () => {
    const { devices: principals } = await seedFederation(test.deps, {
      devices: 500,
      settings: { quorum: 500, capacity: 500 },
    });
    const room = createWaitingRoom(test.deps);
    let turn = 0;
    let counting = setImmediate(function count() {
      turn += 1;
      counting = setImmediate(count);
    });
    const answeredAt: number[] = [];
    const polls = principals.map(async (device) => {
      const polled = await room.wait(device, LONG_MS, never());
      answeredAt.push(turn);
      return polled.status === 'assigned' ? polled.assignment : undefined;
    });
    await settle();
    await advanceRounds(test.deps);
    const got = await Promise.all(polls);
    clearImmediate(counting);
    expect(got.map((assignment) => assignment?.deviceId)).toEqual(principals.map(({ id }) => id));
    const made = await test.deps.db.client`select id, device_id from assignments`;
    const owners = new Map(made.map(({ id, device_id: owner }) => [id, owner]));
    for (const assignment of got) expect(owners.get(assignment!.id)).toBe(assignment!.deviceId);
    expect(new Set(answeredAt).size).toBeGreaterThan(1);
  });

  it('never misses an assignment that is made while it arrives', async () => {
    const room = createWaitingRoom(test.deps);
    for (let attempt = 0; attempt < 30; attempt += 1) {
      const labels = { attempt: String(attempt) };
      const settings = { quorum: 1, capacity: 1 };
      const { devices: principals } = await seedFederation(test.deps, { devices: 1, settings, labels });
      const drawing = setTimeout(attempt % 10).then(() => advanceRounds(test.deps));
      const polled = await room.wait(principals[0]!, 4000, never());
      expect(polled.status).toBe('assigned');
      await drawing;
    }
  });

  it('ends at once when the caller goes away, and when the server stops', async () => {
    const stopping = new AbortController();
    const room = createWaitingRoom({ ...test.deps, stopping: stopping.signal });
    const principals = await seedDevices(test.deps, 3);
    const gone = new AbortController();
    const polls = principals.map((device, i) => room.wait(device, LONG_MS, i === 0 ? gone.signal : never()));
    await settle();
    gone.abort();
    expect(await polls[0]).toMatchObject({ status: 'none' });
    expect(await peek(polls[1]!)).toBe('waiting');
    stopping.abort();
    expect(await Promise.all(polls)).toMatchObject(Array(3).fill({ status: 'none' }));
    expect(await room.wait(principals[0]!, LONG_MS, never())).toMatchObject({ status: 'none' });
    const aborted = AbortSignal.abort();
    expect(await createWaitingRoom(test.deps).wait(principals[0]!, LONG_MS, aborted)).toMatchObject({
      status: 'none',
    });
  });

  it('hears of an outage; those that wait already go on waiting', async () => {
    let isOut = false;
    const { pool } = test.deps.db;
    const failing = new Proxy(pool, {
      get: (target, name) => {
        if (isOut && name === 'select') throw Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
        return Reflect.get(target, name);
      },
    });
    const room = createWaitingRoom({ ...test.deps, db: { ...test.deps.db, pool: failing } });
    const seeded = await seedFederation(test.deps, { devices: 2, settings: { quorum: 2 } });
    const [first, second] = seeded.devices;
    const polling = room.wait(first!, LONG_MS, never());
    await settle();
    isOut = true;
    await expect(room.wait(second!, LONG_MS, never())).rejects.toThrow('gone');
    await advanceRounds(test.deps);
    expect(await peek(polling)).toBe('waiting');
    isOut = false;
    await test.deps.db.client`select pg_notify(${channels.assignments}, '')`;
    expect(await polling).toMatchObject({ status: 'assigned' });
  });
});

describe('presence', () => {
  const presence = async (principals: readonly DevicePrincipal[]) =>
    test.deps.db.pool
      .select({ seen: devices.lastSeenAt })
      .from(devices)
      .where(
        inArray(
          devices.id,
          principals.map(({ id }) => id),
        ),
      );

  it('is kept for devices that wait, so that they can be invited however long they do', async () => {
    const settings = { quorum: 2, presenceMs: 30_000 };
    const room = createWaitingRoom(test.deps);
    const waiting = await seedDevices(test.deps, 2);
    const absent = await seedDevices(test.deps, 2);
    const polls = waiting.map((device) => room.wait(device, LONG_MS, never()));
    await settle();
    for (let i = 0; i < 5; i += 1) {
      test.clock.advance(25_000);
      const now = test.clock.now();
      await test.deps.db.client`select pg_notify(${channels.assignments}, '')`;
      await vi.waitFor(async () => expect(await presence(waiting)).toEqual([{ seen: now }, { seen: now }]));
    }
    const { runId } = await seedFederation(test.deps, { devices: 0, settings });
    await advanceRounds(test.deps);
    expect(await view.rounds(test.deps, runId)).toMatchObject([{ state: 'collecting', population: 2 }]);
    expect(await Promise.all(polls)).toMatchObject(Array(2).fill({ status: 'assigned' }));
    expect((await presence(absent)).every(({ seen }) => seen! < test.clock.now())).toBe(true);
  });

  it('of a device that arrives wakes the workers of a round that waits for its quorum', async () => {
    const { runId, devices: some } = await seedFederation(test.deps, { devices: 1, settings: { quorum: 2 } });
    await advanceRounds(test.deps);
    const late = await seedDevices(test.deps, 1, { lastSeenAt: new Date(0) });
    const countWorkerWakes = countWakes((await test.replica()).deps);
    const room = createWaitingRoom(test.deps);
    const polling = room.wait(late[0]!, LONG_MS, never());
    await vi.waitFor(() => expect(countWorkerWakes()).toBeGreaterThan(0));
    await advanceRounds(test.deps);
    expect(await polling).toMatchObject({ status: 'assigned' });
    expect(await view.rounds(test.deps, runId)).toMatchObject([{ state: 'collecting', invited: 2 }]);
    expect(await openAssignments(test.deps, some)).toHaveLength(1);
  });

  it('of a device that arrives wakes the workers of a round that lacks replacements', async () => {
    const { runId, devices: some } = await seedFederation(test.deps, { devices: 3 });
    await advanceRounds(test.deps);
    const [first] = await openAssignments(test.deps, some);
    await returnAssignment(test.deps, first!.device, first!.id, 'battery');
    await advanceRounds(test.deps);
    expect(await view.rounds(test.deps, runId)).toMatchObject([{ openAssignments: 2, target: 3 }]);
    const late = await seedDevices(test.deps, 1, { lastSeenAt: new Date(0) });
    const countWorkerWakes = countWakes(test.deps);
    const polling = createWaitingRoom(test.deps).wait(late[0]!, LONG_MS, never());
    await vi.waitFor(() => expect(countWorkerWakes()).toBeGreaterThan(0));
    await advanceRounds(test.deps);
    expect(await polling).toMatchObject({ status: 'assigned' });
  });

  it('wakes nobody when no round wants devices', async () => {
    const countWorkerWakes = countWakes(test.deps);
    const [device] = await seedDevices(test.deps, 1, { lastSeenAt: new Date(0) });
    await createWaitingRoom(test.deps).wait(device!, 0, never());
    await settle();
    expect(countWorkerWakes()).toBe(0);
  });
});

describe('what waiting costs', () => {
  /** Counts what is asked of the pool. */
  function counting(deps: Deps) {
    let asked = 0;
    const pool = new Proxy(deps.db.pool, {
      get: (target, name) => {
        if (['select', 'update', 'execute', 'insert'].includes(String(name))) asked += 1;
        return Reflect.get(target, name);
      },
    });
    return { deps: { ...deps, db: { ...deps.db, pool } }, asked: () => asked };
  }

  it('no query for a device that waits, some few for any number that arrive or are woken', async () => {
    const { deps, asked } = counting(test.deps);
    const room = createWaitingRoom(deps);
    const principals = await seedDevices(test.deps, 500);
    const leaving = new AbortController();
    const polls = principals.map((device) => room.wait(device, LONG_MS, leaving.signal));
    await setTimeout(300);
    const arrived = asked();
    expect(arrived).toBeGreaterThan(0);
    expect(arrived).toBeLessThan(10);
    await setTimeout(300);
    expect(asked()).toBe(arrived);
    for (let i = 0; i < 20; i += 1) await test.deps.db.client`select pg_notify(${channels.assignments}, '')`;
    await settle();
    // A question and a touch for each wake at most, and wakes during a look share one.
    expect(asked() - arrived).toBeLessThanOrEqual(60);
    leaving.abort();
    await Promise.all(polls);
  });
});
