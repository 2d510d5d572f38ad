import { eq } from 'drizzle-orm';
import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { advanceRounds } from '../../api/services/rounds/round-clock.ts';
import { reserveBlobs } from '../../api/store/models/blob-rows.ts';
import type { Statement } from '../../api/store/prepared-statements.ts';
import { type AcceptedUpdate, acceptUpdates } from '../../api/store/rounds/updates.ts';
import { assignments, blobs, devices, rounds } from '../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../support/app.ts';
import { openAssignments, seedFederation, view } from '../support/rounds/rounds.ts';

let test: TestApp;
let roundId: string;
let updates: AcceptedUpdate[];
beforeEach(async () => {
  test = await createTestApp();
  const settings = { quorum: 2, capacity: 3 };
  const seeded = await seedFederation(test.deps, { devices: 4, settings });
  await advanceRounds(test.deps);
  const open = await openAssignments(test.deps, seeded.devices);
  const [round] = await view.rounds(test.deps, seeded.runId);
  roundId = round!.id;
  updates = open.map(({ id, device }, i) => ({
    assignmentId: id,
    federationId: device.federationId,
    deviceId: device.id,
    roundId,
    digest: 'd'.repeat(64),
    seal: 'seal',
    bytes: 100 + i,
    blobKey: `update/${i}`,
    numExamples: i + 1,
    weight: 1.5,
    norm: 0.25,
    scalars: { steps: 2 },
    metrics: { loss: 0.5 },
    receivedAt: test.clock.now(),
  }));
  await reserveBlobs(
    test.deps.db.pool,
    updates.map(({ blobKey }) => blobKey),
    test.clock.now(),
  );
});
afterEach(() => test.close());

const accept = (...of: number[]) =>
  acceptUpdates(
    test.deps.db,
    roundId,
    of.map((i) => updates[i]!),
  );

/** All that an acknowledgement changes. */
async function readState() {
  const { pool } = test.deps.db;
  const [round] = await pool.select().from(rounds).where(eq(rounds.id, roundId));
  return {
    round,
    assignments: (await view.assignments(test.deps, roundId)).toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    blobs: (await pool.select().from(blobs)).toSorted((a, b) => (a.key < b.key ? -1 : 1)),
    updates: await view.updates(test.deps, roundId),
  };
}

/** How often whole tables, and the indexes of what is open, were read by this session. */
const countScans = (tx: postgres.Sql | postgres.TransactionSql) => tx`
  select relname as name, seq_scan::int as scans from pg_stat_xact_user_tables
  where relname in ('rounds', 'assignments', 'devices', 'blobs')
  union all
  select relname, pg_stat_get_xact_numscans(oid)::int from pg_class
  where relname in ('rounds_open', 'assignments_one_open', 'blobs_unsettled', 'devices_present')
  order by name`;

it.each([
  ['knew that there were few', 'analyze'],
  ['knew nothing of them', 'select 1'],
])('finds all rows by their keys, also where a session planned it when it %s', async (_, prepare) => {
  const { client } = test.deps.db;
  await client.unsafe(prepare);
  await client.begin(async (tx) => {
    const before = await countScans(tx);
    // As an evaluation does, which shares the plans.
    for (let call = 0; call < 6; call += 1) {
      await tx`select * from take_places(${roundId}::uuid, 0, ${test.clock.now().toISOString()}::timestamptz)`;
    }
    const run = ({ text, parameters }: Statement) => tx.unsafe(text, parameters);
    for (const update of updates.slice(0, 3)) await acceptUpdates({ run }, roundId, [update]);
    expect([...(await countScans(tx))]).toEqual([...before]);
  });
  expect((await readState()).updates).toHaveLength(3);
});

describe('updates that are acknowledged together', () => {
  it('get their places in their order, with all that is told of them', async () => {
    expect(await accept(1)).toEqual({ sequence: 1 });
    expect(await accept(0, 2)).toEqual({ sequence: 2 });
    const { round, updates: kept } = await readState();
    expect(kept).toEqual(
      [1, 0, 2].map((i, index) => expect.objectContaining({ ...updates[i], sequence: index + 1 })),
    );
    // The third fills the round: who is still at work is told that it has closed.
    expect(round).toMatchObject({ accepted: 3, openAssignments: 0, state: 'aggregating' });
    expect(round!.closedAt).toEqual(test.clock.now());
    const states = (await readState()).assignments.map(({ state, reason }) => `${state} ${reason}`);
    expect(states.toSorted()).toEqual([...Array(3).fill('accepted null'), 'expired round_closed']);
  });

  it.each<[string, () => Promise<unknown>]>([
    [
      'an assignment was given back',
      () =>
        test.deps.db.pool
          .update(assignments)
          .set({ state: 'returned' })
          .where(eq(assignments.id, updates[1]!.assignmentId)),
    ],
    [
      'a device was revoked',
      () =>
        test.deps.db.pool
          .update(devices)
          .set({ state: 'revoked' })
          .where(eq(devices.id, updates[1]!.deviceId)),
    ],
    [
      'a blob was given up',
      () => test.deps.db.pool.update(blobs).set({ state: 'dead' }).where(eq(blobs.key, 'update/1')),
    ],
    [
      'the deadline has passed',
      () =>
        test.deps.db.pool.update(rounds).set({ deadlineAt: test.clock.now() }).where(eq(rounds.id, roundId)),
    ],
    [
      'there are not as many places',
      () => test.deps.db.pool.update(rounds).set({ capacity: 1 }).where(eq(rounds.id, roundId)),
    ],
  ])('are all refused, without a trace, if %s', async (_, change) => {
    await change();
    const before = await readState();
    expect(await accept(0, 1)).toBe('refused');
    expect(await readState()).toEqual(before);
  });

  it('wait for whoever has the round in hand, and go by what that has made of it', async () => {
    const held = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const closing = test.deps.db.transaction(async (tx) => {
      await tx.update(rounds).set({ state: 'aggregating' }).where(eq(rounds.id, roundId));
      locked.resolve();
      await held.promise;
    });
    await locked.promise;
    const answered = vi.fn();
    const waiting = accept(0).then((result) => {
      answered();
      return result;
    });
    await vi.waitFor(async () => {
      const [found] = await test.deps.db.client`
        select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and query like '%accept_updates%'`;
      expect(found!.n).toBe(1);
    });
    expect(answered).not.toHaveBeenCalled();
    held.resolve();
    await closing;
    expect(await waiting).toBe('refused');
    expect((await readState()).updates).toEqual([]);
  });
});
