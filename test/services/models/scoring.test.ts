import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import type { Architecture } from '../../../api/domain/manifest.ts';
import type { Scorer } from '../../../api/domain/ml.ts';
import { scoreNextVersion } from '../../../api/services/models/scoring.ts';
import { BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { events, models, modelVersions } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { inChunks } from '../../support/blobs.ts';
import { encodeValues, manifest, seedFederation, view } from '../../support/rounds/rounds.ts';
import { tensorFile } from '../../support/tensor-files.ts';

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(() => test.close());

const architecture: Architecture = { format: 'tfjs-layers', topology: {} };

/** Scores by the first weight, or fails as it is told to. */
function createFakeScorer(score: (first: number) => Promise<{ loss: number; accuracy: number }>) {
  const scored: number[] = [];
  const scorer: Scorer = {
    async score({ tensors, evaluationSet }) {
      const first = tensors.get('w')!.values[0]!;
      scored.push(first);
      const set = typeof evaluationSet === 'function' ? await evaluationSet() : evaluationSet;
      return { examples: set.x.shape[0]!, ...(await score(first)) };
    },
    close: async () => {},
  };
  return { scored, next: (deps: Deps = test.deps) => scoreNextVersion(deps, async () => scorer) };
}

async function putBlob(key: string, file: Uint8Array): Promise<void> {
  const writer = await test.deps.blobs.create(key);
  await writer.write(file);
  await writer.commit();
}

async function setEvaluationSet(modelId: string, key: string): Promise<void> {
  const set = tensorFile([
    { name: 'x', shape: [3, 2], values: [1, 2, 3, 4, 5, 6] },
    { name: 'y', dtype: 'U8', shape: [3], values: [0, 1, 0] },
  ]);
  await putBlob(key, set);
  await test.deps.db.pool
    .update(models)
    .set({ evaluationKey: key, evaluationDigest: key, manifest: { ...manifest, architecture } })
    .where(eq(models.id, modelId));
}

/** A model with so many versions, whose first weights are 1, 2, 3 ... */
async function seedVersions(count: number, { withSet = true } = {}): Promise<string> {
  const { modelId } = await seedFederation(test.deps, { devices: 0 });
  const [first] = await view.versions(test.deps, modelId);
  for (let version = 2; version <= count; version += 1) {
    const blobKey = `version/${modelId}-${version}`;
    await putBlob(blobKey, encodeValues([version, 0, 0, 0, 0, 0, 0, 0]));
    await test.deps.db.pool.insert(modelVersions).values({ ...first!, version, blobKey });
  }
  if (withSet) await setEvaluationSet(modelId, `evaluation-set/${modelId}`);
  return modelId;
}

const scoresOf = async (modelId: string) =>
  (await view.versions(test.deps, modelId)).map(({ score }) => score);

describe('scoring', () => {
  it('takes the oldest version first, each once, and tells watchers', async () => {
    const modelId = await seedVersions(3);
    const { next, scored } = createFakeScorer(async (first) => ({ loss: first, accuracy: 0.5 }));
    while (await next());
    expect(scored).toEqual([1, 2, 3]);
    expect(await scoresOf(modelId)).toEqual([1, 2, 3].map((loss) => ({ examples: 3, loss, accuracy: 0.5 })));
    const told = await test.deps.db.pool.select().from(events).where(eq(events.type, 'version.scored'));
    expect(told.map(({ subject }) => subject.version)).toEqual([1, 2, 3]);
    expect(await next()).toBe(false);
  });

  it('has nothing to do for a model without an evaluation set', async () => {
    await seedVersions(2, { withSet: false });
    const { next, scored } = createFakeScorer(async () => ({ loss: 0, accuracy: 0 }));
    expect(await next()).toBe(false);
    expect(scored).toEqual([]);
  });

  it('notes that a version cannot be scored and goes on with the others', async () => {
    const modelId = await seedVersions(3);
    const { next, scored } = createFakeScorer(async (first) => {
      if (first === 2) throw new Error('the architecture does not fit');
      return { loss: first, accuracy: 1 };
    });
    while (await next());
    expect(scored).toEqual([1, 2, 3]);
    expect(await scoresOf(modelId)).toMatchObject([{ loss: 1 }, {}, { loss: 3 }]);
    expect((await scoresOf(modelId))[1]).toEqual({});
  });

  it('notes a version whose file is gone', async () => {
    const modelId = await seedVersions(2);
    await test.deps.blobs.delete((await view.versions(test.deps, modelId))[0]!.blobKey);
    const { next } = createFakeScorer(async (first) => ({ loss: first, accuracy: 1 }));
    while (await next());
    expect(await scoresOf(modelId)).toMatchObject([{}, { loss: 2 }]);
  });

  it('leaves a loss out that has run away', async () => {
    const modelId = await seedVersions(1);
    const { next } = createFakeScorer(async () => ({ loss: Number.NaN, accuracy: 0.1 }));
    await next();
    expect(await scoresOf(modelId)).toEqual([{ examples: 3, accuracy: 0.1 }]);
  });

  it('tries again after an outage, and when the worker was stopped', async () => {
    const modelId = await seedVersions(1);
    const { blobs } = test.deps;
    let isOut = true;
    const deps: Deps = {
      ...test.deps,
      blobs: {
        ...blobs,
        read: inChunks(async function* (key, range) {
          if (isOut) throw new BlobUnavailableError('out of order');
          yield* blobs.read(key, range);
        }),
      },
    };
    const { next } = createFakeScorer(async (first) => ({ loss: first, accuracy: 1 }));
    await expect(next(deps)).rejects.toThrow(BlobUnavailableError);
    isOut = false;
    const stopped = createFakeScorer(() => Promise.reject(new Error('the scoring thread ended')));
    const scorer = { score: () => Promise.reject(new Error('the thread ended')), close: async () => {} };
    const stopping = scoreNextVersion(test.deps, async () => scorer, AbortSignal.abort());
    await expect(stopping).rejects.toThrow('the thread ended');
    expect(stopped.scored).toEqual([]);
    expect(await scoresOf(modelId)).toEqual([null]);
    await next(deps);
    expect(await scoresOf(modelId)).toMatchObject([{ loss: 1 }]);
  });

  it('of two workers at once notes one score and tells of it once', async () => {
    const modelId = await seedVersions(1);
    let waiting = 0;
    const { promise: both, resolve } = Promise.withResolvers<void>();
    const { next } = createFakeScorer(async (first) => {
      waiting += 1;
      if (waiting === 2) resolve();
      await both;
      return { loss: first, accuracy: 1 };
    });
    await Promise.all([next(), next((await test.replica()).deps)]);
    expect(await scoresOf(modelId)).toMatchObject([{ loss: 1 }]);
    const told = await test.deps.db.pool.select().from(events).where(eq(events.type, 'version.scored'));
    expect(told).toHaveLength(1);
  });

  it('does not note a score on an evaluation set that was replaced meanwhile', async () => {
    const modelId = await seedVersions(1);
    const { next } = createFakeScorer(async () => {
      await setEvaluationSet(modelId, 'evaluation-set/newer');
      return { loss: 7, accuracy: 0 };
    });
    expect(await next()).toBe(true);
    expect(await scoresOf(modelId)).toEqual([null]);
    const later = createFakeScorer(async () => ({ loss: 8, accuracy: 0 }));
    await later.next();
    expect(await scoresOf(modelId)).toMatchObject([{ loss: 8 }]);
  });
});
