import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import type { EncodedValues } from '../../api/domain/strategies/vector.ts';
import { FOLD_THREAD } from '../../api/kernels/folds/fold-thread.ts';
import { createFoldThread, type FoldThread, type Segment } from '../../api/kernels/folds/folds.ts';
import { createSeal } from '../../api/kernels/seals.ts';
import { cutAtRandom, makeValues } from './arbitraries.ts';
import { addPlain, applyPlain, f32Bytes, misaligned } from './plain.ts';

const LENGTH = 300_011;
const range = { start: 0, length: LENGTH };
const options = { strategy: 'fedavg', parameters: {}, range };

let workers: Worker[] = [];
let thread = createFoldThread(startWorker);

function startWorker(): Worker {
  const worker = new Worker(new URL('../../api/kernels/folds/fold-thread.ts', import.meta.url), {
    workerData: FOLD_THREAD,
  });
  workers.push(worker);
  return worker;
}

afterEach(async () => {
  await thread.close();
  workers = [];
  thread = createFoldThread(startWorker);
});

interface Update {
  weight: number;
  file: Uint8Array;
  head: Uint8Array;
  seal: string;
  bytes: number;
  segments: Segment[];
  values: { flatStart: number; encoded: EncodedValues }[];
}

/**
 * An update file of three tensors, not in flattened order, after a head of odd length and with a gap and a
 * tail.
 */
function makeUpdate(seed: number): Update {
  const cuts = [
    { flatStart: 200_003, length: LENGTH - 200_003, dtype: 'F32' },
    { flatStart: 0, length: 50_001, dtype: 'BF16' },
    { flatStart: 50_001, length: 150_002, dtype: 'I8' },
  ] as const;
  const parts: Uint8Array[] = [Buffer.from('a head of 13.')];
  const update: Update = {
    weight: seed * 3 + 1,
    file: new Uint8Array(),
    head: parts[0]!,
    seal: '',
    bytes: 0,
    segments: [],
    values: [],
  };
  for (const { flatStart, length, dtype } of cuts) {
    const encoded = makeValues(dtype, length, seed + length, 0, 0.01 * seed);
    const fileStart = parts.reduce((sum, part) => sum + part.length, 0);
    const { scale } = encoded;
    update.segments.push({ fileStart, fileEnd: fileStart + encoded.bytes.length, flatStart, dtype, scale });
    update.values.push({ flatStart, encoded });
    parts.push(encoded.bytes, Buffer.from('gap'));
  }
  update.file = Buffer.concat(parts);
  update.seal = sealOf(update.file);
  update.bytes = update.file.length;
  return update;
}

function sealOf(file: Uint8Array): string {
  const sealer = createSeal();
  sealer.push(file);
  return sealer.close();
}

function foldPlain(updates: readonly Update[], base: Float32Array): Uint8Array {
  const sum = new Float64Array(LENGTH);
  for (const { weight, values } of updates) {
    for (const { flatStart, encoded } of values) addPlain(sum, flatStart, encoded, weight);
  }
  const weights = updates.reduce((total, { weight }) => total + weight, 0);
  return f32Bytes(applyPlain(sum, base, 1 / weights));
}

const updates = [1, 2, 3, 4].map(makeUpdate);
const base = Float32Array.from({ length: LENGTH }, (_, index) => Math.sin(index));
const whole = foldPlain(updates, base);

async function* stream(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk.slice());
  return Buffer.concat(parts);
}

function add(
  fold: string,
  { weight, segments, head, seal, bytes, file }: Update,
  pieces: Iterable<Uint8Array> = [file],
) {
  return thread.add(fold, { weight, segments, head, seal, bytes, source: stream(pieces) });
}

function finish(fold: string, seed = 1): Promise<Buffer> {
  return collect(thread.finish(fold, stream(cutAtRandom(f32Bytes(base), seed, 200_000))));
}

async function rejection(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const { name, fault } = error as { name?: string; fault?: string };
  return { name, fault };
}

async function expectWholeFold(fold: string): Promise<void> {
  await thread.begin(fold, options);
  for (const update of updates) await add(fold, update);
  expect(Buffer.compare(await finish(fold), whole)).toBe(0);
}

describe('a fold', () => {
  test('gives the plain bits and finds the seal whole, however the files are cut', async () => {
    for (const [index, longest] of [50, 7001, 100_000, 3_000_000].entries()) {
      const fold = `fold-${index}`;
      await thread.begin(fold, options);
      for (const update of updates) {
        const { file } = update;
        const result = await add(fold, update, cutAtRandom(misaligned(file, index + 1), index + 1, longest));
        expect(result).toEqual({ isIntact: true, bytes: file.length });
      }
      expect(Buffer.compare(await finish(fold, index + 1), whole)).toBe(0);
      await thread.release(fold);
    }
  });

  test('reads chunks before it asks for the next: the source may reuse its buffer', async () => {
    async function* reusing(file: Uint8Array): AsyncGenerator<Uint8Array> {
      const buffer = Buffer.alloc(65_536);
      for (let at = 0; at < file.length; at += buffer.length) {
        const part = file.subarray(at, at + buffer.length);
        buffer.fill(0xff).set(part);
        yield buffer.subarray(0, part.length);
      }
    }
    await thread.begin('a', options);
    for (const { weight, segments, head, seal, bytes, file } of updates) {
      await thread.add('a', { weight, segments, head, seal, bytes, source: reusing(file) });
    }
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
  });

  test('saved and restored in the middle, on another thread, gives the same bits', async () => {
    await thread.begin('a', options);
    for (const update of updates.slice(0, 2)) await add('a', update);
    const checkpoint = await collect(thread.save('a'));
    expect(checkpoint.length).toBeGreaterThan(LENGTH * 8);
    await thread.close();
    thread = createFoldThread(startWorker);
    await thread.begin('b', options);
    await thread.restore('b', stream(cutAtRandom(checkpoint, 5, 500_000)));
    expect(Buffer.compare(await collect(thread.save('b')), checkpoint)).toBe(0);
    for (const update of updates.slice(2)) await add('b', update);
    expect(Buffer.compare(await finish('b'), whole)).toBe(0);
  });

  test('interleaves with others', async () => {
    const ids = ['a', 'b', 'c'];
    await Promise.all(ids.map((id) => thread.begin(id, options)));
    const orders = [updates, updates.slice(0, 3), updates.slice(1)];
    await Promise.all(
      ids.map(async (id, index) => {
        for (const update of orders[index]!)
          await add(id, update, cutAtRandom(update.file, index + 1, 90_000));
      }),
    );
    const models = await Promise.all(ids.map((id) => finish(id)));
    for (const [index, model] of models.entries()) {
      expect(Buffer.compare(model, foldPlain(orders[index]!, base))).toBe(0);
    }
  });

  test('may be finished again, and its consumer may stop early', async () => {
    await thread.begin('a', options);
    for (const update of updates) await add('a', update);
    for await (const chunk of thread.finish('a', stream([f32Bytes(base)]))) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    for await (const _chunk of thread.save('a')) break;
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
  });

  test('tells a truncated, an altered and another file, and goes on after a fresh start', async () => {
    const update = updates[0]!;
    const altered = new Uint8Array(update.file);
    altered[altered.length - 1]! ^= 1;
    await thread.begin('a', options);
    for (const file of [update.file.subarray(0, 555_555), altered, updates[1]!.file]) {
      expect(await add('a', { ...update, file })).toEqual({ isIntact: false, bytes: file.length });
    }
    await thread.release('a');
    await expectWholeFold('a');
  });

  test('takes segments in any order', async () => {
    await thread.begin('a', options);
    for (const update of updates) await add('a', { ...update, segments: [...update.segments].reverse() });
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
  });

  test('takes only its range of an update', async () => {
    const part = { start: 49_990, length: 160_000 };
    await thread.begin('a', { ...options, range: part });
    for (const update of updates) await add('a', update);
    const end = part.start + part.length;
    const model = await collect(thread.finish('a', stream([f32Bytes(base.subarray(part.start, end))])));
    expect(Buffer.compare(model, whole.subarray(part.start * 4, end * 4))).toBe(0);
  });

  test('asks its source for no more than a few chunks ahead', async () => {
    const bytes = new Uint8Array(64 << 20);
    const segment: Segment = { fileStart: 0, fileEnd: bytes.length, flatStart: 0, dtype: 'F32' };
    await thread.begin('a', { ...options, range: { start: 0, length: bytes.length / 4 } });
    const given: number[] = [];
    async function* counted(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 1 << 20) {
        given.push(at);
        yield bytes.subarray(at, at + (1 << 20));
      }
    }
    await thread.add('a', {
      weight: 1,
      segments: [segment],
      head: bytes.subarray(0, 1000),
      seal: sealOf(bytes),
      bytes: bytes.length,
      source: counted(),
    });
    given.length = 0;
    let taken = 0;
    for await (const chunk of thread.finish('a', counted())) {
      taken += chunk.length;
      expect(given.length - taken / (1 << 20)).toBeLessThanOrEqual(5);
    }
    expect(taken).toBe(bytes.length);
  });
});

describe('refuses', () => {
  test.each([
    ['an unknown strategy', { ...options, strategy: 'fedfoo' }, 'unknown_strategy'],
    ['parameters', { ...options, parameters: { maxWeight: 0 } }, 'bad_parameters'],
    ['parameters that are no object', { ...options, parameters: 7 }, 'bad_parameters'],
    ['a range', { ...options, range: { start: 0, length: -1 } }, 'bad_range'],
    ['more than the memory', { ...options, range: { start: 0, length: 2 ** 30 } }, 'out_of_memory'],
  ])('%s', async (_name, wrong, fault) => {
    expect(await rejection(thread.begin('a', wrong))).toEqual({ name: 'FoldRequestError', fault });
    await expectWholeFold('a');
  });

  const [update] = updates as [Update];
  const [first, second, third] = update.segments as [Segment, Segment, Segment];
  test.each([
    ['a gap', [first, third]],
    ['a gap at the end', [second, third]],
    ['nothing', []],
    ['an overlap in the model', [first, second, { ...third, flatStart: 50_000 }]],
    ['an overlap in the file', [{ ...first, fileStart: 33, fileEnd: first.fileEnd + 20 }, second, third]],
    ['half an element', [{ ...first, fileEnd: first.fileEnd - 2 }, second, third]],
    ['a negative place', [{ ...first, fileStart: -4 }, second, third]],
    ['an unknown dtype', [{ ...first, dtype: 'F64' as 'F32' }, second, third]],
    ['I8 without a scale', [first, second, { ...third, scale: undefined }]],
    [
      'bytes the wrong way round',
      [{ ...first, fileStart: first.fileEnd, fileEnd: first.fileStart }, second, third],
    ],
  ])('segments with %s, and the fold is unchanged', async (_name, segments) => {
    await thread.begin('a', options);
    const refused = await rejection(add('a', { ...update, segments }));
    expect(refused).toEqual({ name: 'FoldRequestError', fault: 'bad_segments' });
    for (const good of updates) await add('a', good);
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
  });

  test.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('weight %s', async (weight) => {
    await thread.begin('a', options);
    const refused = await rejection(add('a', { ...update, weight }));
    expect(refused).toEqual({ name: 'FoldRequestError', fault: 'bad_weight' });
  });

  test('a second fold of one id, and a second call on one fold', async () => {
    await thread.begin('a', options);
    expect((await rejection(thread.begin('a', options))).fault).toBe('fold_exists');
    const [slow, quick] = [
      add('a', updates[0]!, cutAtRandom(updates[0]!.file, 1, 1000)),
      add('a', updates[1]!),
    ];
    expect((await rejection(quick)).fault).toBe('fold_busy');
    await slow;
    for (const rest of updates.slice(1)) await add('a', rest);
    expect(Buffer.compare(await finish('a'), whole)).toBe(0);
  });

  test('a base model of the wrong length', async () => {
    await thread.begin('a', options);
    await add('a', update);
    for (const bytes of [LENGTH * 4 - 4, LENGTH * 4 + 4, LENGTH * 4 - 1]) {
      const refused = await rejection(collect(thread.finish('a', stream([new Uint8Array(bytes)]))));
      expect(refused).toEqual({ name: 'FoldRequestError', fault: 'bad_base' });
    }
  });
});

describe('a next model that is not finite', () => {
  test('is refused: no update', async () => {
    await thread.begin('a', options);
    expect((await rejection(finish('a'))).name).toBe('NonFiniteError');
  });

  test('is refused: an infinity in the last value alone', async () => {
    const [update] = updates as [Update];
    const [first] = update.segments as [Segment];
    const file = new Uint8Array(update.file);
    file.set([0, 0, 0x80, 0x7f], first.fileEnd - 4);
    await thread.begin('a', options);
    await add('a', { ...update, file });
    expect((await rejection(finish('a'))).name).toBe('NonFiniteError');
  });
});

describe('a checkpoint that does not fit', () => {
  async function checkpointOf(given: typeof options): Promise<Buffer> {
    await thread.begin('source', given);
    const bytes = await collect(thread.save('source'));
    await thread.release('source');
    return bytes;
  }

  test.each<[string, (good: Buffer) => Buffer]>([
    ['cut short', (good) => good.subarray(0, good.length - 8)],
    ['cut inside a value', (good) => good.subarray(0, good.length - 3)],
    ['cut inside its head', (good) => good.subarray(0, 60)],
    ['empty', (good) => good.subarray(0, 0)],
    ['with trailing bytes', (good) => Buffer.concat([good, Buffer.alloc(8)])],
    [
      'of another strategy',
      (good) => Buffer.from(good.toString('latin1').replace('fedavg', 'fedfoo'), 'latin1'),
    ],
    [
      'of another format',
      (good) => Buffer.from(good.toString('latin1').replace('fold-1', 'fold-9'), 'latin1'),
    ],
    [
      'with odd scalars',
      (good) => Buffer.from(good.toString('latin1').replace('weight\\":0', 'weight\\":{'), 'latin1'),
    ],
  ])('%s is refused, and the fold is lost', async (_name, spoil) => {
    const good = await checkpointOf(options);
    await thread.begin('a', options);
    const refused = await rejection(thread.restore('a', stream([spoil(good)])));
    expect(refused).toEqual({ name: 'FoldRequestError', fault: 'bad_checkpoint' });
    expect((await rejection(finish('a'))).name).toBe('FoldLostError');
  });

  test('of another range is refused', async () => {
    const other = await checkpointOf({ ...options, range: { start: 1, length: LENGTH } });
    await thread.begin('a', options);
    expect((await rejection(thread.restore('a', stream([other])))).fault).toBe('bad_checkpoint');
  });
});

describe('what is lost', () => {
  test('an unknown fold, also where no thread runs; releasing it is fine', async () => {
    expect((await rejection(add('a', updates[0]!))).name).toBe('FoldLostError');
    await thread.release('a');
    await thread.begin('b', options);
    expect((await rejection(add('a', updates[0]!))).name).toBe('FoldLostError');
    expect((await rejection(collect(thread.save('a')))).name).toBe('FoldLostError');
    await thread.release('a');
  });

  test('a fold whose source failed in mid-file; the id can begin again', async () => {
    const { weight, segments, head, seal, bytes, file } = updates[0]!;
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield file.subarray(0, 400_000);
      throw new Error('disk');
    }
    await thread.begin('a', options);
    await expect(thread.add('a', { weight, segments, head, seal, bytes, source: failing() })).rejects.toThrow(
      'disk',
    );
    expect((await rejection(add('a', updates[1]!))).name).toBe('FoldLostError');
    await expectWholeFold('a');
  });

  test('a fold that is released under a call', async () => {
    await thread.begin('a', options);
    const adding = rejection(add('a', updates[0]!, cutAtRandom(updates[0]!.file, 1, 1000)));
    await thread.release('a');
    expect((await adding).name).toBe('FoldLostError');
  });

  /** Kills the thread after the source's first chunk, and then keeps the source going. */
  async function killInMidAdd(kill: (worker: Worker) => Promise<unknown>) {
    const { weight, segments, head, seal, bytes } = updates[0]!;
    let given = 0;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1 << 20);
      await kill(workers.at(-1)!);
      for (; given < 100; given += 1) yield new Uint8Array(1 << 20);
    }
    const failure = await rejection(
      thread.add('a', { weight, segments, head, seal, bytes, source: chunks() }),
    );
    return { failure, given };
  }

  test.each<[string, (worker: Worker) => Promise<unknown>]>([
    ['terminated', (worker) => worker.terminate()],
    [
      'crashed by an error',
      (worker) =>
        new Promise((resolve) => {
          // Not 'exit', which comes later and must not harm the next thread.
          worker.once('error', resolve);
          // Nothing on the thread expects this: it dies of an uncaught TypeError.
          worker.postMessage(undefined);
        }),
    ],
  ])('everything on a thread that is %s: begin() starts a new one', async (_name, kill) => {
    await thread.begin('a', options);
    await thread.begin('b', options);
    const idle = thread.save('b')[Symbol.asyncIterator]();
    await idle.next();
    const { failure, given } = await killInMidAdd(kill);
    expect(failure.name).toBe('FoldThreadError');
    expect(given).toBeLessThan(10);
    expect((await rejection(idle.next())).name).toBe('FoldThreadError');
    expect((await rejection(add('b', updates[0]!))).name).toBe('FoldLostError');
    await expectWholeFold('a');
    expect((await rejection(add('b', updates[0]!))).name).toBe('FoldLostError');
    expect(workers.length).toBe(2);
  });

  test('everything at close(), and nothing begins afterwards', async () => {
    await thread.begin('a', options);
    const pending = thread.save('a')[Symbol.asyncIterator]();
    await pending.next();
    await thread.close();
    expect((await rejection(pending.next())).name).toBe('FoldThreadError');
    expect((await rejection(thread.begin('a', options))).name).toBe('FoldThreadError');
    await thread.release('a');
  });
});

test('a thread that cannot start rejects begin()', async () => {
  const broken: FoldThread = createFoldThread(
    () => new Worker('throw new Error("no start")', { eval: true }),
  );
  expect((await rejection(broken.begin('a', options))).name).toBe('FoldThreadError');
  await broken.close();
});
