import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ageDrafts } from '../../support/acceptance/drafts.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Run } from '../../support/acceptance/operators.ts';
import { type Member, startReplicas } from '../../support/acceptance/services.ts';

let service: Awaited<ReturnType<typeof startReplicas>>;
let federation: Federation;
beforeAll(async () => {
  service = await startReplicas({ api: 2, workers: 2 });
  federation = await createFederation(service, 4);
});
afterAll(async () => {
  await service?.close();
});

const intake = ['blob.after_temp_write', 'blob.after_fsync', 'update.before_commit', 'update.after_commit'];
const aggregation = [
  'blob.after_temp_write:2',
  'blob.after_fsync:2',
  'fold.after_update',
  'checkpoint.after_blob',
  'publish.mid_blob',
  'publish.after_blob',
  'publish.before_commit',
  'publish.after_commit',
];

/** Arms processes, runs a federation until each of them was killed, and starts them again. */
async function runOverKills(name: string, members: readonly Member[], failpoint: string): Promise<void> {
  // Of its own for each try of the test.
  const model = `${name}-${randomUUID().slice(0, 8)}`;
  await federation.createModel(model);
  for (const member of members) await member.stop();
  const armed = { FEDEDGE_FAILPOINT: failpoint, FEDEDGE_CHECKPOINT_UPDATES: '1' };
  await Promise.all(members.map((member) => member.start(armed)));
  const work = federation.work();
  federation.startRun(model, { rounds: 3 }).catch(() => undefined);
  for (const member of members) expect(await member.ended()).toBe('SIGKILL');
  await ageDrafts(service.dataDir);
  // A worker sweeps when it starts.
  const sweeper = service.workers[0]!;
  if (!members.includes(sweeper)) await sweeper.stop();
  await Promise.all([...new Set([...members, sweeper])].map((member) => member.start()));
  const [run] = await federation.operator.list<Run>(`/v1/runs?model=${model}`);
  expect(await federation.finish(run!.id)).toMatchObject({ state: 'completed', completedRounds: 3 });
  await work.stop();
  await federation.settle();
  await checkInvariants(federation);
}

describe('processes on one PostgreSQL, killed', { timeout: 120_000 }, () => {
  it.each(intake)('an API replica at %s: its devices go on at the other', async (failpoint) => {
    const model = `api-${failpoint.replaceAll(/[^a-z0-9]/g, '-')}`;
    await runOverKills(model, service.replicas.slice(0, 1), failpoint);
  });

  // Both, one after the other: whoever takes the lease over is killed at the same point.
  it.each(aggregation)('two workers at %s: whoever comes next goes on', async (failpoint) => {
    await runOverKills(`worker-${failpoint.replaceAll(/[^a-z0-9]/g, '-')}`, service.workers, failpoint);
  });
});
