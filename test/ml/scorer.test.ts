import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import type { EvaluationSet, NamedTensor } from '../../api/domain/ml.ts';
import { loadBackend } from '../../api/ml/backend.ts';
import { addonFile } from '../../api/ml/backend-native.ts';
import { buildModel, disposeModel, getWeights } from '../../api/ml/model.ts';
import { scoreModel } from '../../api/ml/scoring/score.ts';
import { createScorer } from '../../api/ml/scoring/scorer.ts';
import { cnn, mlp } from './architectures.ts';
import { makeExamples } from './examples.ts';

const data = makeExamples([12], 60);
const wasm = await loadBackend('wasm');
const scorer = await createScorer();
afterAll(() => scorer.close());

async function weightsOf(architecture: typeof mlp, seed: number): Promise<Map<string, NamedTensor>> {
  const model = await buildModel(wasm, architecture, { seed });
  const weights = await getWeights(model);
  disposeModel(model);
  return weights;
}

function setOf({ x, y } = data): EvaluationSet {
  const { buffer, byteOffset, byteLength } = x.values;
  return { x: { shape: x.shape, dtype: x.dtype, bytes: new Uint8Array(buffer, byteOffset, byteLength) }, y };
}

async function scoredHere(architecture: typeof mlp, seed: number, examples = data) {
  const model = await buildModel(wasm, architecture, { seed });
  const score = await scoreModel(model, examples);
  disposeModel(model);
  return score;
}

describe('score', () => {
  test('gives what scoring on this thread gives', async () => {
    for (const seed of [1, 2]) {
      const tensors = await weightsOf(mlp, seed);
      const result = await scorer.score({ architecture: mlp, tensors, evaluationSet: setOf() });
      expect(result).toEqual(await scoredHere(mlp, seed));
    }
  });

  test('takes 8-bit inputs', async () => {
    const images = makeExamples([10, 10, 2], 30, 'U8');
    const tensors = await weightsOf(cnn, 1);
    const result = await scorer.score({ architecture: cnn, tensors, evaluationSet: setOf(images) });
    expect(result).toEqual(await scoredHere(cnn, 1, images));
  });

  test('takes floats that lie at an odd place in their file', async () => {
    const set = setOf();
    const file = new Uint8Array(set.x.bytes.length + 3);
    file.set(set.x.bytes, 3);
    const evaluationSet = { ...set, x: { ...set.x, bytes: file.subarray(3) } };
    const result = await scorer.score({ architecture: mlp, tensors: await weightsOf(mlp, 1), evaluationSet });
    expect(result).toEqual(await scoredHere(mlp, 1));
  });

  test('moves weights that own their buffer and copies the others', async () => {
    const tensors = await weightsOf(mlp, 1);
    const shared = new Float32Array(100);
    shared.set(tensors.get('hidden/bias')!.values, 7);
    tensors.set('hidden/bias', { shape: [16], values: shared.subarray(7, 23) });
    await scorer.score({ architecture: mlp, tensors, evaluationSet: setOf() });
    expect(tensors.get('hidden/kernel')!.values.length).toBe(0);
    expect(shared.length).toBe(100);
  });

  test('asks for a set once for each key', async () => {
    const asked: string[] = [];
    const score = async (evaluationKey: string) => {
      const evaluationSet = async () => {
        asked.push(evaluationKey);
        return setOf();
      };
      return scorer.score({
        architecture: mlp,
        tensors: await weightsOf(mlp, 3),
        evaluationSet,
        evaluationKey,
      });
    };
    const results = await Promise.all([score('a'), score('a'), score('b'), score('b'), score('a')]);
    expect(asked).toEqual(['a', 'b', 'a']);
    const expected = await scoredHere(mlp, 3);
    for (const result of results) expect(result).toEqual(expected);
  });

  test('keeps the event loop free', async () => {
    const many = makeExamples([10, 10, 2], 2_000);
    const tensors = await weightsOf(cnn, 1);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await scorer.score({ architecture: cnn, tensors, evaluationSet: setOf(many) });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});

describe('what goes wrong', () => {
  test('is said, and the next score works, with its set again', async () => {
    const short = { ...setOf(), x: { ...setOf().x, shape: [61, 12] } };
    const score = async (
      evaluationSet: EvaluationSet,
      change?: (tensors: Map<string, NamedTensor>) => void,
    ) => {
      const tensors = await weightsOf(mlp, 1);
      change?.(tensors);
      return scorer.score({ architecture: mlp, tensors, evaluationSet, evaluationKey: 'same' });
    };
    await expect(score(short)).rejects.toThrow('bytes of inputs');
    await expect(score(setOf(), (tensors) => tensors.delete('hidden/bias'))).rejects.toThrow('hidden/bias');
    const lambda = { class_name: 'Lambda', config: { name: 'l' } };
    const topology = { class_name: 'Sequential', config: { name: 'm', layers: [lambda] } };
    const unknown = { format: 'tfjs-layers', topology } as const;
    const request = { architecture: unknown, tensors: new Map(), evaluationSet: setOf() };
    await expect(scorer.score(request)).rejects.toThrow('Lambda');
    expect(await score(setOf())).toEqual(await scoredHere(mlp, 1));
  });

  test('a score that takes too long is given up', async () => {
    const hasty = await createScorer({ timeoutMs: 1 });
    const request = { architecture: mlp, tensors: await weightsOf(mlp, 1), evaluationSet: setOf() };
    await expect(hasty.score(request)).rejects.toThrow('not scored within 1 ms');
    await hasty.close();
  });

  test('a thread that dies fails its score alone: the next one gets a new thread', async () => {
    const request = async () => ({
      architecture: mlp,
      tensors: await weightsOf(mlp, 1),
      evaluationSet: setOf(),
    });
    try {
      process.env.FEDEDGE_NATIVE_DIR = await makeFatalAddon();
      const dying = await createScorer({ backend: 'native' });
      await expect(dying.score(await request())).rejects.toThrow('the scoring thread ended with code 3');
      process.env.FEDEDGE_NATIVE_DIR = '/nowhere';
      await expect(dying.score(await request())).rejects.toThrow('not built');
      await dying.close();
    } finally {
      delete process.env.FEDEDGE_NATIVE_DIR;
    }
  });

  test('a closed scorer refuses', async () => {
    const closed = await createScorer();
    await closed.close();
    const request = { architecture: mlp, tensors: await weightsOf(mlp, 1), evaluationSet: setOf() };
    await expect(closed.score(request)).rejects.toThrow('closed');
  });
});

/** A native backend whose code ends the thread that loads it. */
async function makeFatalAddon(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-fatal-'));
  for (const [path, text] of [
    [addonFile(folder), ''],
    [join(folder, 'package', 'dist', 'nodejs_kernel_backend.js'), 'process.exit(3);'],
    [join(folder, 'node_modules', '@tensorflow', 'tfjs', 'index.js'), ''],
    [join(folder, 'node_modules', '@tensorflow', 'tfjs-core', 'index.js'), ''],
  ] as const) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}
