import { asc, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunSettings } from '../../../api/domain/run.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { ENROLLMENT_TOKEN_MS, sweepBlobs } from '../../../api/services/sweeper.ts';
import { recordAudit } from '../../../api/store/journal/audit.ts';
import { recordEvent } from '../../../api/store/journal/events.ts';
import { chainAudit, numberEvents, verifyAudit } from '../../../api/store/journal/journal.ts';
import { auditEntries, enrollmentTokens, events, updates } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import {
  createTestWorker,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

const DAY_MS = 86_400_000;
let test: TestApp;
beforeAll(async () => {
  test = await createTestApp();
});
afterAll(() => test?.close());

/** A published round of two updates; their files' keys in order. */
async function publishRound(settings: Partial<RunSettings>): Promise<string[]> {
  const { deps } = test;
  const { runId, devices } = await seedFederation(deps, {
    devices: 2,
    settings: { quorum: 2, capacity: 2, ...settings },
    labels: { run: crypto.randomUUID() },
  });
  const worker = createTestWorker(deps);
  await worker.turn();
  for (const assignment of await openAssignments(deps, devices)) {
    await sendUpdate(deps, assignment, [1, 2, 3, 4, 5, 6, 7, 8]);
    test.clock.advance(1000);
  }
  await worker.turn();
  await worker.close();
  const [round] = await view.rounds(deps, runId);
  expect(round?.state).toBe('completed');
  return (await view.updates(deps, round!.id)).map(({ blobKey }) => blobKey);
}

const stored = async (keys: readonly string[]) =>
  Promise.all(keys.map(async (key) => (await test.deps.blobs.size(key)) !== undefined));

describe('files of updates', () => {
  it('go with the next sweep unless the run retains them', async () => {
    const [gone, kept] = [
      await publishRound({ retainUpdates: false }),
      await publishRound({ retainUpdates: true }),
    ];
    await sweepBlobs(test.deps);
    expect([await stored(gone), await stored(kept)]).toEqual([
      [false, false],
      [true, true],
    ]);
  });

  it('are kept for as many days as the run says; their rows stay', async () => {
    const keys = await publishRound({ retainUpdates: true, retainUpdatesForDays: 2 });
    test.clock.advance(2 * DAY_MS - 60_000);
    await sweepBlobs(test.deps);
    expect(await stored(keys)).toEqual([true, true]);
    test.clock.advance(60_000);
    expect(await sweepBlobs(test.deps)).toMatchObject({ retainedUpdates: 2 });
    expect(await stored(keys)).toEqual([false, false]);
    const rows = await test.deps.db.pool.select().from(updates).where(eq(updates.blobKey, keys[0]!));
    expect(rows[0]).toMatchObject({ state: 'folded', digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  it('go from the oldest on when they are more than the quota', async () => {
    const older = await publishRound({ retainUpdates: true });
    const newer = await publishRound({ retainUpdates: true });
    const [row] = await test.deps.db.pool.select().from(updates).where(eq(updates.blobKey, newer[0]!));
    const config = { ...test.deps.config, retainedUpdateBytes: 3 * row!.bytes };
    await sweepBlobs({ ...test.deps, config });
    expect([await stored(older), await stored(newer)]).toEqual([
      [false, true],
      [true, true],
    ]);
    expect(await sweepBlobs({ ...test.deps, config })).toMatchObject({ retainedUpdates: 0 });
  });
});

describe('rows', () => {
  it('of events go when they are old, but never the last: positions go on', async () => {
    const { pool } = test.deps.db;
    await pool.delete(events);
    const record = () =>
      recordEvent(pool, {
        federationId: 'default',
        type: 'test',
        subject: {},
        createdAt: test.clock.now(),
      });
    for (let i = 0; i < 3; i += 1) await record();
    await numberEvents(test.deps.db);
    test.clock.advance(test.deps.config.eventDays * DAY_MS);
    expect(await sweepBlobs(test.deps)).toMatchObject({ events: 0 });
    test.clock.advance(1);
    expect(await sweepBlobs(test.deps)).toMatchObject({ events: 2 });
    await record();
    await numberEvents(test.deps.db);
    const left = await pool.select().from(events).orderBy(asc(events.position));
    expect(left.map(({ position }) => position)).toEqual([3, 4]);
  });

  it('of enrolment tokens go a month after their end, if nobody has used them', async () => {
    const used = await test.enrolDevice();
    await test.enrollmentToken({ name: 'unused' });
    test.clock.advance(DAY_MS + ENROLLMENT_TOKEN_MS);
    await sweepBlobs(test.deps);
    const names = async () => {
      const rows = await test.deps.db.pool.select().from(enrollmentTokens);
      return rows.filter(({ uses, name }) => uses > 0 || name === 'unused').length;
    };
    expect(await names()).toBe(2);
    test.clock.advance(1);
    expect(await sweepBlobs(test.deps)).toMatchObject({ enrollmentTokens: 1 });
    expect(await names()).toBe(1);
    expect(used.id).toBeTruthy();
  });

  it('of the audit log stay for ever', async () => {
    const { db } = test.deps;
    await recordAudit(db.pool, {
      federationId: systemPrincipal.federationId,
      actor: 'system',
      action: 'test',
      target: 'test:1',
      details: {},
      createdAt: new Date(0),
    });
    await chainAudit(db);
    const before = await db.pool.$count(auditEntries);
    await sweepBlobs(test.deps);
    expect(await db.pool.$count(auditEntries)).toBe(before);
    expect(await verifyAudit(db)).toBeUndefined();
  });
});
