import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { putEvaluationSet, requireEvaluationSet } from '../../../api/services/models/evaluation-sets.ts';
import { createVersion } from '../../../api/services/models/versions.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { findModel } from '../../../api/store/models/models.ts';
import { findVersion } from '../../../api/store/models/versions.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { get } from '../../support/blobs.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import {
  createFaultyDeps,
  type FaultyDeps,
  failEach,
  faultModes,
} from '../../support/rounds/injected-faults.ts';
import { declare } from '../../support/rounds/rounds.ts';
import { tensorFile } from '../../support/tensor-files.ts';

let test: TestApp;
let operator: RequestHeaders;
let faulty: FaultyDeps;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  faulty = createFaultyDeps(test.deps);
});
afterAll(() => test?.close());

let models = 0;
async function newModel(): Promise<string> {
  models += 1;
  await createTestModel(test, operator, `m${models}`);
  return `m${models}`;
}
const storedModel = async (name: string) =>
  (await findModel(test.deps.db.pool, systemPrincipal.federationId, name))!;

/** What a sweep leaves, hours later. */
async function bytesAfterSweep(key: string): Promise<Buffer> {
  test.clock.advance(7_200_000);
  await sweepBlobs(test.deps);
  return get(test.deps.blobs, key);
}

it.each(faultModes)(
  'each call of a version that is put may fail %s: it is there once, and stays',
  async (mode) => {
    const file = smallWeights(3);
    const failed = await failEach(faulty, mode, async (disturbed, what) => {
      const name = await newModel();
      await disturbed(() => createVersion(faulty.deps, systemPrincipal, name, declare(file)));
      const { id, head } = await storedModel(name);
      expect(head, what).toBe(1);
      const version = await findVersion(test.deps.db.pool, id, 1);
      expect((await bytesAfterSweep(version!.blobKey)).equals(file), what).toBe(true);
    });
    expect(failed).toEqual(expect.arrayContaining(['create', 'commit of a blob', 'begin', 'commit']));
  },
);

it.each(faultModes)('each call of an evaluation set that is put may fail %s: it stays', async (mode) => {
  const file = tensorFile([
    { name: 'x', shape: [2, 3], values: [1, 2, 3, 4, 5, 6] },
    { name: 'y', shape: [2], dtype: 'I32', values: [0, 1] },
  ]);
  const failed = await failEach(faulty, mode, async (disturbed, what) => {
    const name = await newModel();
    await disturbed(() => putEvaluationSet(faulty.deps, systemPrincipal, name, declare(file)));
    expect(await requireEvaluationSet(test.deps, systemPrincipal, name)).toMatchObject({ examples: 2 });
    const { evaluationKey } = await storedModel(name);
    expect((await bytesAfterSweep(evaluationKey!)).equals(file), what).toBe(true);
  });
  expect(failed).toEqual(expect.arrayContaining(['create', 'commit of a blob', 'begin', 'commit']));
});
