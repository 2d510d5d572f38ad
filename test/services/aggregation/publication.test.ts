import { eq, sql } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { createRun, stopRun } from '../../../api/services/rounds/runs.ts';
import { hasOpenRun } from '../../../api/store/models/models.ts';
import { blobs, models, modelVersions } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { damageBlob, findFaults, truncateBlob } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  defaultSettings,
  openAssignments,
  readValues,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
const workers: ReturnType<typeof createTestWorker>[] = [];
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
  await test.close();
});

function startWorker(deps: Deps = test.deps) {
  const worker = createTestWorker(deps);
  workers.push(worker);
  return worker;
}

const fill = (value: number) => Array<number>(8).fill(value);

/** A round that has all its updates and is to be published. */
async function filledRound(values: number[][] = [fill(1), fill(3)], settings = {}) {
  const seeded = await seedFederation(test.deps, {
    devices: values.length,
    settings: { quorum: values.length, capacity: values.length, maxFailedRounds: 1, ...settings },
  });
  await advanceRounds(test.deps);
  const open = await openAssignments(test.deps, seeded.devices);
  for (const [i, assignment] of open.entries()) await sendUpdate(test.deps, assignment, values[i]!);
  const current = async () => (await view.rounds(test.deps, seeded.runId))[0]!;
  const updates = async () => view.updates(test.deps, (await current()).id);
  return { ...seeded, current, updates };
}

describe('a round fails', () => {
  it('when the next model would not be finite: huge deltas that are finite themselves', async () => {
    const huge = fill(3.4e38);
    const round = await filledRound([huge, huge]);
    await startWorker().turn();
    // The mean of two huge values is finite; added to a base as huge, it is not.
    expect((await round.current()).state).toBe('completed');
    const other = await seedFederation(test.deps, {
      devices: 0,
      base: huge,
      settings: { quorum: 2, capacity: 2, maxFailedRounds: 1 },
    });
    await advanceRounds(test.deps);
    for (const assignment of await openAssignments(test.deps, round.devices)) {
      await sendUpdate(test.deps, assignment, huge);
    }
    await startWorker().turn();
    const [failed] = await view.rounds(test.deps, other.runId);
    expect(failed).toMatchObject({ state: 'failed', reason: 'not_finite' });
    const states = (await view.updates(test.deps, failed!.id)).map(({ state }) => state);
    expect(states).toEqual(['expired', 'expired']);
    expect((await view.model(test.deps, other.modelId)).head).toBe(1);
    expect(await view.run(test.deps, other.runId)).toMatchObject({ state: 'failed' });
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it.each([
    ['damaged', (key: string) => damageBlob(test.deps, key)],
    ['cut short', (key: string) => truncateBlob(test.deps, key, 150)],
    ['cut to its header', (key: string) => truncateBlob(test.deps, key, 40)],
    ['missing', (key: string) => test.deps.blobs.delete(key)],
  ])('when the base version is %s', async (_name, damage) => {
    const round = await filledRound();
    const [base] = await view.versions(test.deps, round.modelId);
    await damage(base!.blobKey);
    await startWorker().turn();
    expect(await round.current()).toMatchObject({ state: 'failed', reason: 'base_missing' });
    expect((await round.updates()).map(({ state }) => state)).toEqual(['expired', 'expired']);
    expect(await view.versions(test.deps, round.modelId)).toHaveLength(1);
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('when the head of its model has moved; the next round trains from where it is now', async () => {
    const round = await filledRound(undefined, { maxFailedRounds: 3 });
    const [base] = await view.versions(test.deps, round.modelId);
    await test.deps.db.pool.insert(modelVersions).values({ ...base!, version: 2 });
    await test.deps.db.pool.update(models).set({ head: 2 }).where(eq(models.id, round.modelId));
    await startWorker().turn();
    const [first, second] = await view.rounds(test.deps, round.runId);
    expect(first).toMatchObject({ state: 'failed', reason: 'head_moved', version: null });
    expect(second).toMatchObject({ state: 'collecting', baseVersion: 2 });
    expect((await view.versions(test.deps, round.modelId)).map(({ version }) => version)).toEqual([1, 2]);
    expect(await findFaults(test.deps)).toEqual([]);
  });
});

describe('what fails on the way is repeated', () => {
  /** Makes `name` fail the first time that it is passed. */
  function failingOnce(name: string, fail: () => Promise<void>): Deps {
    let hasFailed = false;
    const failpoint = async (passed: string) => {
      if (passed !== name || hasFailed) return;
      hasFailed = true;
      await fail();
    };
    return { ...test.deps, failpoint };
  }

  async function publishAfter(deps: Deps) {
    const round = await filledRound();
    const worker = startWorker(deps);
    await expect(worker.folder.step()).rejects.toThrow();
    expect((await round.current()).state).toBe('aggregating');
    expect(await view.versions(test.deps, round.modelId)).toHaveLength(1);
    await worker.turn();
    expect((await round.current()).state).toBe('completed');
    const versions = await view.versions(test.deps, round.modelId);
    expect(versions).toHaveLength(2);
    expect(await readValues(test.deps, versions[1]!.blobKey)).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await findFaults(test.deps)).toEqual([]);
  }

  const outage = () => Promise.reject(Object.assign(new Error('shutting down'), { code: '57P01' }));
  const cutConnections = async () => {
    await test.deps.db.pool.execute(sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`);
  };

  it.each(['fold.after_update', 'publish.mid_blob', 'publish.after_blob', 'publish.before_commit'])(
    'after an outage at %s',
    (name) => publishAfter(failingOnce(name, outage)),
  );

  it('after the database has cut the connection of the publishing transaction', () =>
    publishAfter(failingOnce('publish.before_commit', cutConnections)));

  it('after the sweeper took the file of the version', () => {
    const deps = failingOnce('publish.after_blob', async () => {
      await test.deps.db.pool.update(blobs).set({ state: 'dead' }).where(eq(blobs.state, 'writing'));
    });
    return publishAfter(deps);
  });

  it('not, if it fails after the commit', async () => {
    const round = await filledRound();
    const worker = startWorker(failingOnce('publish.after_commit', outage));
    await expect(worker.folder.step()).rejects.toThrow();
    await worker.turn();
    expect((await round.current()).state).toBe('completed');
    expect(await view.versions(test.deps, round.modelId)).toHaveLength(2);
  });
});

describe('a round that fails to be folded', () => {
  it('does not hold up the others', async () => {
    const labels = { site: 'broken' };
    const strategy = { name: 'no-such-strategy', parameters: {} };
    const broken = await seedFederation(test.deps, { devices: 2, labels });
    await advanceRounds(test.deps);
    for (const assignment of await openAssignments(test.deps, broken.devices)) {
      await sendUpdate(test.deps, assignment, fill(1));
    }
    const settings = sql`settings || ${JSON.stringify({ strategy })}::text::jsonb`;
    await test.deps.db.pool.execute(sql`update runs set settings = ${settings}`);
    const round = await filledRound();
    const worker = startWorker();
    await expect(worker.folder.step()).rejects.toThrow('no-such-strategy');
    expect((await round.current()).state).toBe('completed');
  });
});

describe('a run that is stopped while its round aggregates', () => {
  it('still publishes; until then the model has no room for another', async () => {
    const { deps } = test;
    const round = await filledRound();
    await stopRun(deps, systemPrincipal, round.runId);
    expect((await round.current()).state).toBe('aggregating');
    const { name: model } = await view.model(deps, round.modelId);
    const request = { model, name: 'next', settings: defaultSettings };
    await expect(createRun(deps, systemPrincipal, request)).rejects.toMatchObject({ code: 'model_busy' });
    expect(await hasOpenRun(deps.db.pool, round.modelId)).toBe(true);
    await startWorker().turn();
    expect((await round.current()).state).toBe('completed');
    expect(await view.run(deps, round.runId)).toMatchObject({ state: 'stopped', completedRounds: 1 });
    expect(await hasOpenRun(deps.db.pool, round.modelId)).toBe(false);
    expect(await createRun(deps, systemPrincipal, request)).toMatchObject({ state: 'active' });
  });
});

it('the files of updates go after publication, unless the run retains them', async () => {
  for (const retainUpdates of [true, false]) {
    const round = await filledRound(undefined, { retainUpdates });
    await startWorker().turn();
    const keys = (await round.updates()).map(({ blobKey }) => blobKey);
    const states = await test.deps.db.pool
      .select({ state: blobs.state })
      .from(blobs)
      .where(sql`${blobs.key} in ${keys}`);
    expect(states.map(({ state }) => state)).toEqual(Array(2).fill(retainUpdates ? 'live' : 'dead'));
    await test.deps.db.pool.execute(sql`update devices set state = 'revoked'`);
  }
});
