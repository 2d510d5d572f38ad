import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../api/domain/manifest.ts';
import {
  type Dtype,
  dtypeBytes,
  elementCount,
  encodeTensorHeader,
  MAX_HEADER_BYTES,
  parseTensorHeader,
  readHeaderLength,
  TENSOR_LENGTH_BYTES,
} from '../../api/domain/tensors.ts';
import { maxUpdateBytes, planUpdate } from '../../api/domain/update.ts';
import { rawFile } from '../support/tensor-files.ts';

/** 5,000 in a run of the tests; FEDEDGE_TEST_FUZZ_RUNS=100000 for a night. */
const numRuns = Number(process.env.FEDEDGE_TEST_FUZZ_RUNS ?? 5000);
const timeout = 60_000 + numRuns * 10;

const dtypes: Dtype[] = ['F64', 'F32', 'F16', 'BF16', 'I64', 'I32', 'I16', 'I8', 'U8', 'BOOL'];
const manifest: Manifest = {
  tensors: [
    { name: 'w', shape: [2, 3], dtype: 'F32', role: 'trainable' },
    { name: 'b', shape: [3], dtype: 'F32', role: 'trainable' },
    { name: 'local', shape: [4], dtype: 'F32', role: 'local' },
  ],
};
const PARAMETERS = 9;

// Names that objects have from the start, and text that JSON and file systems stumble over.
const nasty = fc.constantFrom(
  '__proto__',
  'constructor',
  'toString',
  '',
  '\0',
  '\ud800',
  '../w',
  'w',
  'b',
  'local',
);
const names = fc.oneof(nasty, fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ maxLength: 300 }));
const numbers = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.constantFrom(-1, -0, 0.5, 1e308, 2 ** 53, 2 ** 53 - 1, 2 ** 32, 4294967295, Number.NaN),
);
const metadata = fc.dictionary(
  fc.oneof(fc.constantFrom('num_examples', 'metrics', 'encoding', 'num_steps', '__proto__'), names),
  fc.oneof(
    fc.constantFrom(
      'f32',
      'bf16',
      '1',
      '0',
      '-1',
      '1e3',
      '1e999',
      ' 7 ',
      '0x10',
      'NaN',
      '{}',
      '{"loss":1}',
      '[]',
    ),
    fc.constantFrom('{"loss":1e999}', '{"__proto__":{"x":1}}', '{"a":{"b":1}}', `{"${'m'.repeat(9000)}":1}`),
    fc.string({ maxLength: 40 }),
  ),
  { maxKeys: 8 },
);
const description = fc.oneof(
  fc.record({
    dtype: fc.oneof(fc.constantFrom(...dtypes), fc.constantFrom('f32', '__proto__', 'F8_E4M3', 4, null)),
    shape: fc.oneof(fc.array(numbers, { maxLength: 9 }), fc.anything()),
    data_offsets: fc.oneof(fc.array(numbers, { maxLength: 3 }), fc.anything()),
  }),
  fc.anything(),
);
const looseHeader = fc
  .tuple(fc.array(fc.tuple(names, description), { maxLength: 5 }), fc.oneof(metadata, fc.anything()))
  .map(([tensors, meta]) => toJson([...tensors, ['__metadata__', meta]]));
const deep = fc.integer({ min: 1, max: 100_000 }).map((depth) => '['.repeat(depth));
const duplicated = fc.tuple(names, description, description).map(([name, one, other]) => {
  const key = JSON.stringify(name);
  return `{${key}:${JSON.stringify(one) ?? 0},${key}:${JSON.stringify(other) ?? 0}}`;
});

/** Without an object in between, which would lose duplicates and __proto__. */
function toJson(members: [string, unknown][]): string {
  const written = members.map(([name, value]) => {
    try {
      return `${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}`;
    } catch {
      return '"x":0';
    }
  });
  return `{${written.join()}}`;
}

/** Tensors that lie one after another without a gap, in the order of the file. */
const tensors = fc
  .array(
    fc.record({
      name: names.filter((name) => name !== '' && name !== '__metadata__' && name.length <= 256),
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 5 }),
    }),
    { maxLength: 8 },
  )
  .map((all) => [...new Map(all.map((tensor) => [tensor.name.toWellFormed(), tensor])).values()]);
const validFile = fc.tuple(tensors, metadata).map(([all, meta]) => ({
  meta,
  ...encodeTensorHeader(
    all.map((tensor) => ({ ...tensor, name: tensor.name.toWellFormed() })),
    meta,
  ),
}));
/** A file that would be taken, with some of its bytes changed. */
const damagedFile = fc
  .tuple(validFile, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat())
  .map(([{ head }, changes, cut]) => {
    const bytes = head.slice();
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return cut % 3 === 0 ? bytes.subarray(0, cut % (bytes.length + 1)) : bytes;
  });
const anyFile = fc.oneof(
  fc.uint8Array({ maxLength: 400 }),
  looseHeader.map((json) => new Uint8Array(rawFile(json))),
  duplicated.map((json) => new Uint8Array(rawFile(json))),
  deep.map((json) => new Uint8Array(rawFile(json))),
  damagedFile,
);

describe('the parser of tensor files, on any bytes', () => {
  it('refuses with a reason, or answers what is true of the file', { timeout }, () => {
    const taken = { yes: 0, no: 0 };
    fc.assert(
      fc.property(anyFile, (bytes) => {
        const result = parseTensorHeader(bytes);
        taken[result.ok ? 'yes' : 'no'] += 1;
        if (!result.ok) {
          expect(result.reason.length).toBeGreaterThan(0);
          expect(result.reason.length).toBeLessThan(1000);
          return;
        }
        const { entries, headerBytes, dataBytes, metadata } = result.header;
        const length = readHeaderLength(bytes);
        expect(length).toEqual({ ok: true, jsonBytes: headerBytes - TENSOR_LENGTH_BYTES });
        expect(headerBytes).toBeLessThanOrEqual(
          Math.min(bytes.length, MAX_HEADER_BYTES + TENSOR_LENGTH_BYTES),
        );
        let end = 0;
        for (const entry of entries) {
          expect(entry.start).toBe(end);
          expect(entry.end - entry.start).toBe(elementCount(entry.shape) * dtypeBytes(entry.dtype));
          end = entry.end;
        }
        expect(dataBytes).toBe(end);
        expect(Number.isSafeInteger(dataBytes)).toBe(true);
        expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length);
        expect(Object.values(metadata).every((text) => typeof text === 'string')).toBe(true);
      }),
      { numRuns },
    );
    // Otherwise one half of it was never looked at.
    expect(taken.yes).toBeGreaterThan(numRuns / 100);
    expect(taken.no).toBeGreaterThan(numRuns / 100);
  });

  it('reads back what was written', { timeout }, () => {
    fc.assert(
      fc.property(validFile, ({ head, entries, dataBytes, meta }) => {
        const result = parseTensorHeader(head);
        if (!result.ok) {
          expect(result.reason).toContain('__metadata__');
          return;
        }
        const sorted = entries.toSorted((a, b) => a.start - b.start || a.end - b.end);
        expect(result.header.entries.map(({ name }) => name).toSorted()).toEqual(
          sorted.map(({ name }) => name).toSorted(),
        );
        expect(result.header.dataBytes).toBe(dataBytes);
        expect(Object.keys(result.header.metadata)).toHaveLength(Object.keys(meta).length);
      }),
      { numRuns },
    );
  });
});

describe('planUpdate, on any header that can be read', () => {
  const wanted = manifest.tensors.filter(({ role }) => role === 'trainable');
  /** Often what was asked for, sometimes with another tensor, another dtype, or one that is missing. */
  const nearly = fc
    .record({
      order: fc.shuffledSubarray(wanted, { minLength: 1, maxLength: 2 }),
      dtype: fc.constantFrom<Dtype>('F32', 'BF16', 'F16'),
      other: fc.option(
        names.filter((name) => name !== '' && name.length <= 256),
        { freq: 4 },
      ),
      meta: metadata,
      examples: fc.oneof(fc.constant('10'), numbers.map(String)),
      encoding: fc.constantFrom('f32', 'bf16', undefined),
    })
    .map(({ order, dtype, other, meta, examples, encoding }) => {
      const all = order.map(({ name, shape }) => ({ name, shape, dtype }));
      if (other !== null) all.push({ name: other, shape: [3], dtype });
      const text = { ...meta, num_examples: examples, ...(encoding ? { encoding } : {}) };
      return encodeTensorHeader(all, text).head;
    });

  it('refuses with a reason, or places every value once, inside of the file and of the model', {
    timeout,
  }, () => {
    const taken = { yes: 0, no: 0 };
    fc.assert(
      fc.property(fc.oneof(anyFile, nearly), fc.constantFrom([], ['num_steps']), (bytes, scalars) => {
        const parsed = parseTensorHeader(bytes);
        if (!parsed.ok) return;
        const result = planUpdate(parsed.header, manifest, scalars);
        taken[result.ok ? 'yes' : 'no'] += 1;
        if (!result.ok) {
          expect(result.reason.length).toBeGreaterThan(0);
          return;
        }
        const { plan } = result;
        const { headerBytes, dataBytes } = parsed.header;
        expect(headerBytes + dataBytes).toBeLessThanOrEqual(maxUpdateBytes(PARAMETERS));
        const width = plan.encoding === 'f32' ? 4 : 2;
        const filled = new Set<number>();
        for (const { fileStart, fileEnd, flatStart, dtype } of plan.segments) {
          expect(dtype).toBe(width === 4 ? 'F32' : 'BF16');
          expect(fileStart).toBeGreaterThanOrEqual(headerBytes);
          expect(fileEnd).toBeLessThanOrEqual(headerBytes + dataBytes);
          for (let at = 0; at < (fileEnd - fileStart) / width; at++) filled.add(flatStart + at);
        }
        expect([...filled].toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: PARAMETERS }, (_, at) => at),
        );
        expect(Number.isSafeInteger(plan.numExamples) && plan.numExamples >= 1).toBe(true);
        const figures = [...Object.values(plan.metrics), ...Object.values(plan.scalars)];
        expect(figures.every((value) => Number.isFinite(value))).toBe(true);
        expect(Object.keys(plan.scalars)).toEqual(scalars);
      }),
      { numRuns },
    );
    expect(taken.yes).toBeGreaterThan(numRuns / 1000);
    expect(taken.no).toBeGreaterThan(numRuns / 100);
  });
});
