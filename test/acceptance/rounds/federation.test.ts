import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Version } from '../../support/acceptance/operators.ts';
import { type Service, startServer } from '../../support/acceptance/services.ts';

let service: Service;
let federation: Federation;
beforeAll(async () => {
  service = await startServer();
  federation = await createFederation(service, 4);
});
afterAll(async () => {
  await service?.close();
});

describe('a federation on the embedded server', () => {
  it('trains a model round by round, each version the fold of its updates', async () => {
    await federation.createModel('whole');
    const work = federation.work();
    const run = await federation.startRun('whole', { rounds: 5 });
    expect(await federation.finish(run.id)).toMatchObject({
      state: 'completed',
      reason: 'rounds_done',
      completedRounds: 5,
    });
    await work.stop();
    const versions = await federation.operator.list<Version>('/v1/models/whole/versions');
    expect(versions.map(({ version, parent }) => [version, parent])).toEqual([
      [1, null],
      [2, 1],
      [3, 2],
      [4, 3],
      [5, 4],
      [6, 5],
    ]);
    expect(federation.witness.receipts.size).toBeGreaterThanOrEqual(10);
    await checkInvariants(federation);
  });
});
