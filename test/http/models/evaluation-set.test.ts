import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobs, models, modelVersions } from '../../../api/store/schema.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createTestModel, problemOf, smallWeights } from '../../support/models.ts';
import { rawRequest, sha256, type TestTensor, tensorFile } from '../../support/tensor-files.ts';

let test: TestApp;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  await createTestModel(test, operator, 'm', [smallWeights(1)]);
});
afterAll(() => test.close());

const path = '/v1/models/m/evaluation-set';
const put = (file: Uint8Array, headers: RequestHeaders = operator) =>
  test.app.request(path, rawRequest('PUT', file, headers));
const x: TestTensor = { name: 'x', shape: [2, 3], dtype: 'U8', values: [1, 2, 3, 4, 5, 6] };
const y: TestTensor = { name: 'y', shape: [2], dtype: 'I32', values: [0, 1] };
const row = async () => (await test.deps.db.pool.select().from(models).where(eq(models.name, 'm')))[0]!;
const blobState = async (key: string) =>
  (await test.deps.db.pool.select().from(blobs).where(eq(blobs.key, key)))[0]?.state;

describe('an evaluation set', () => {
  it('is stored, replaced and described; the one before is given to the sweeper and the head is scored anew', async () => {
    expect(await problemOf(await test.app.request(path, { headers: operator }))).toMatchObject({
      status: 404,
    });
    const first = tensorFile([x, y]);
    const answer = await put(first);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ digest: sha256(first), examples: 2 });
    const { evaluationKey: firstKey } = await row();
    expect(await blobState(firstKey!)).toBe('live');
    await test.deps.db.pool.update(modelVersions).set({ score: { accuracy: 0.5 } });

    const second = tensorFile([y, { ...x, dtype: 'F32' }]);
    expect((await put(second)).status).toBe(200);
    expect(await blobState(firstKey!)).toBe('dead');
    expect(await blobState((await row()).evaluationKey!)).toBe('live');
    expect((await test.deps.db.pool.select().from(modelVersions))[0]?.score).toBeNull();
    const described = await test.app.request(path, { headers: await test.operator('viewer') });
    expect(await described.json()).toEqual({ digest: sha256(second), examples: 2 });
    const model = await test.app.request('/v1/models/m', { headers: operator });
    expect(await model.json()).toMatchObject({ evaluationSet: { digest: sha256(second), examples: 2 } });
  });

  it('that is there already stays, with its scores', async () => {
    const before = await row();
    await test.deps.db.pool.update(modelVersions).set({ score: { accuracy: 0.5 } });
    expect((await put(tensorFile([y, { ...x, dtype: 'F32' }]))).status).toBe(200);
    expect((await row()).evaluationKey).toBe(before.evaluationKey);
    expect((await test.deps.db.pool.select().from(modelVersions))[0]?.score).toEqual({ accuracy: 0.5 });
  });

  it.each<[string, TestTensor[], string]>([
    ['no x', [y], 'tensor x is missing'],
    ['no y', [x], 'tensor y is missing'],
    ['a third tensor', [x, y, { name: 'z', shape: [1] }], 'there are more tensors than x and y'],
    ['x of F64', [{ name: 'x', shape: [2, 3], dtype: 'F64' }, y], 'tensor x has dtype F64, not F32 or U8'],
    ['y of F32', [x, { name: 'y', shape: [2] }], 'tensor y has dtype F32, not I32 or U8'],
    [
      'x without features',
      [{ name: 'x', shape: [2], dtype: 'U8' }, y],
      'tensor x has no dimension beside that of the examples',
    ],
    [
      'y with columns',
      [x, { name: 'y', shape: [2, 1], dtype: 'I32' }],
      'tensor y does not have one dimension',
    ],
    [
      'another number of examples',
      [x, { name: 'y', shape: [3], dtype: 'I32' }],
      'x has 2 examples and y has 3',
    ],
    [
      'no examples',
      [
        { name: 'x', shape: [0, 3] },
        { name: 'y', shape: [0], dtype: 'I32' },
      ],
      'there are no examples',
    ],
    [
      'a value that is not finite',
      [{ name: 'x', shape: [2, 1], values: [1, Number.NaN] }, y],
      'a value is not finite',
    ],
  ])('with %s is refused', async (_what, tensors, reason) => {
    const before = await row();
    expect(await problemOf(await put(tensorFile(tensors)))).toEqual({
      status: 422,
      code: 'malformed',
      reason,
    });
    expect(await row()).toEqual(before);
  });

  it('is put by operators alone', async () => {
    const device = await test.enrolDevice();
    for (const headers of [device.headers, await test.operator('viewer'), await test.operator('releaser')]) {
      expect((await put(tensorFile([x, y]), headers)).status).toBe(403);
    }
    expect((await test.app.request(path, { headers: device.headers })).status).toBe(403);
  });
});
