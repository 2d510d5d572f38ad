import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ageDrafts, listUpdateFiles } from '../../support/acceptance/drafts.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Run } from '../../support/acceptance/operators.ts';
import { postmasterPid } from '../../support/acceptance/programs.ts';
import { startServer } from '../../support/acceptance/services.ts';

let service: Awaited<ReturnType<typeof startServer>>;
let federation: Federation;
beforeAll(async () => {
  service = await startServer();
  federation = await createFederation(service, 3);
});
afterAll(async () => {
  await service?.close();
});

/** NAME:COUNT is the COUNTth pass. Every update is followed by a checkpoint, so blobs are also those. */
const failpoints = [
  'blob.after_temp_write',
  'blob.after_temp_write:4',
  'blob.after_fsync',
  'blob.after_fsync:5',
  'update.before_commit:2',
  'update.after_commit',
  'fold.after_update:2',
  'checkpoint.after_blob:2',
  'publish.mid_blob',
  'publish.after_blob',
  'publish.before_commit',
  'publish.after_commit',
];

describe('the embedded server, killed', { timeout: 120_000 }, () => {
  it.each(failpoints)('at %s, loses nothing that was acknowledged and goes on', async (failpoint) => {
    const { server, dataDir } = service;
    const model = failpoint.replaceAll(/[^a-z0-9]/g, '-');
    await federation.createModel(model);
    await server.stop();
    const before = await listUpdateFiles(dataDir);
    await server.start({ FEDEDGE_FAILPOINT: failpoint, FEDEDGE_CHECKPOINT_UPDATES: '1' });
    const work = federation.work();
    // The kill may come before the answer: which run it is, the list tells.
    federation.startRun(model).catch(() => undefined);
    expect(await server.ended()).toBe('SIGKILL');
    const drafts = await ageDrafts(dataDir);
    const begun = (await listUpdateFiles(dataDir)).filter((name) => !before.includes(name));
    await server.start();
    const [run] = await federation.operator.list<Run>(`/v1/runs?model=${model}`);
    expect(await federation.finish(run!.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
    await work.stop();
    await federation.settle();
    await checkInvariants(federation);
    // What came in one go has no draft.
    if (failpoint.startsWith('blob.after_temp_write')) expect([...drafts, ...begun]).not.toEqual([]);
    if (failpoint === 'publish.mid_blob') expect(drafts).not.toEqual([]);
  });

  it('while it sweeps, sweeps the same blobs again', async () => {
    const { server } = service;
    await server.stop();
    // There is a sweep at every start, so it may not come to be ready.
    await server.start({ FEDEDGE_FAILPOINT: 'sweep.before_forget' }).catch(() => undefined);
    expect(await server.ended()).toBe('SIGKILL');
    await server.start();
    await checkInvariants(federation);
  });

  it('leaves its database running, which the next start adopts', async () => {
    const { server, dataDir } = service;
    const before = await postmasterPid(dataDir);
    await server.kill9();
    await server.start();
    expect(await postmasterPid(dataDir)).toBe(before);
    expect(service.logs()).toMatch(/adopted/);
    await checkInvariants(federation);
  });

  it('ends by itself what devices have left, though the deadline passes while it is dead', async () => {
    const { server } = service;
    await federation.createModel('silence');
    const settings = { deadlineMs: 1000, pendingMs: 1000, maxFailedRounds: 2, presenceMs: 3_600_000 };
    const run = await federation.startRun('silence', settings);
    const [device] = federation.devices;
    // It is heard of once: its update counts for a round that never reaches its quorum.
    const assignment = await device!.poll(5);
    await federation.contribute(device!, assignment!);
    await server.kill9();
    await server.start();
    expect(await federation.finish(run.id)).toMatchObject({ state: 'failed', reason: 'max_failed_rounds' });
    await federation.settle();
    await checkInvariants(federation);
  });
});
