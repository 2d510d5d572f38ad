import { describe, expect, it } from 'vitest';
import { averageMetrics } from '../../api/domain/metrics.ts';
import { encodeTensorHeader, parseTensorHeader } from '../../api/domain/tensors.ts';
import { planUpdate } from '../../api/domain/update.ts';

const manifest = {
  tensors: [
    { name: 'w', shape: [2, 3], dtype: 'F32' as const, role: 'trainable' as const },
    { name: 'b', shape: [3], dtype: 'F32' as const, role: 'trainable' as const },
    { name: 'mine', shape: [4], dtype: 'F32' as const, role: 'local' as const },
  ],
};
const w = { name: 'w', dtype: 'F32' as const, shape: [2, 3] };
const b = { name: 'b', dtype: 'F32' as const, shape: [3] };
const metadata = { num_examples: '12', metrics: '{"loss":0.5}', encoding: 'f32' };

function plan(
  tensors: Parameters<typeof encodeTensorHeader>[0],
  text: Record<string, string> = metadata,
  scalars: string[] = [],
) {
  const parsed = parseTensorHeader(encodeTensorHeader(tensors, text).head);
  if (!parsed.ok) throw new Error(parsed.reason);
  return { head: parsed.header.headerBytes, result: planUpdate(parsed.header, manifest, scalars) };
}

describe('planUpdate', () => {
  it('places the values, in whatever order the file has them', () => {
    const { head, result } = plan([b, w]);
    expect(result).toEqual({
      ok: true,
      plan: {
        encoding: 'f32',
        numExamples: 12,
        metrics: { loss: 0.5 },
        scalars: {},
        segments: [
          { fileStart: head, fileEnd: head + 12, flatStart: 6, dtype: 'F32' },
          { fileStart: head + 12, fileEnd: head + 36, flatStart: 0, dtype: 'F32' },
        ],
      },
    });
  });

  it('takes bf16', () => {
    const { result } = plan(
      [
        { ...w, dtype: 'BF16' },
        { ...b, dtype: 'BF16' },
      ],
      { ...metadata, encoding: 'bf16' },
    );
    expect(result).toMatchObject({
      ok: true,
      plan: { encoding: 'bf16', segments: [{ dtype: 'BF16' }, { dtype: 'BF16' }] },
    });
  });

  it('takes an update without metrics or encoding', () => {
    expect(plan([w, b], { num_examples: '1' }).result).toMatchObject({
      ok: true,
      plan: { metrics: {}, encoding: 'f32' },
    });
  });

  it('reads the scalars that the strategy asks for, and no others', () => {
    const text = { ...metadata, num_steps: '40', other: '1' };
    expect(plan([w, b], text, ['num_steps']).result).toMatchObject({
      ok: true,
      plan: { scalars: { num_steps: 40 } },
    });
  });

  it.each([
    ['a missing tensor', [w], metadata, 'b is missing'],
    ['a foreign tensor', [w, b, { ...b, name: 'c' }], metadata, 'c was not asked for'],
    [
      'a local tensor',
      [w, b, { name: 'mine', dtype: 'F32' as const, shape: [4] }],
      metadata,
      'mine was not asked for',
    ],
    ['a wrong shape', [{ ...w, shape: [3, 2] }, b], metadata, 'shape [3,2]'],
    ['a dtype that is not the encoding', [{ ...w, dtype: 'BF16' as const }, b], metadata, 'dtype BF16'],
    ['an unknown encoding', [w, b], { ...metadata, encoding: 'gzip' }, 'encoding'],
    ['no examples', [w, b], { ...metadata, num_examples: '0' }, 'num_examples'],
    ['examples that are no number', [w, b], { ...metadata, num_examples: 'many' }, 'num_examples'],
    ['fractional examples', [w, b], { ...metadata, num_examples: '1.5' }, 'num_examples'],
    ['examples beyond all bounds', [w, b], { ...metadata, num_examples: '1e300' }, 'num_examples'],
    ['examples left out', [w, b], { encoding: 'f32' }, 'num_examples'],
    ['metrics that are no JSON', [w, b], { ...metadata, metrics: '{' }, 'metrics'],
    ['metrics that are infinite', [w, b], { ...metadata, metrics: '{"loss":1e999}' }, 'metrics'],
    ['metrics that are text', [w, b], { ...metadata, metrics: '{"loss":"low"}' }, 'metrics'],
    [
      'metrics with a name that cannot be kept',
      [w, b],
      { ...metadata, metrics: '{"a\\u0000":1}' },
      'metrics',
    ],
  ])('refuses %s', (_name, tensors, text, reason) => {
    const { result } = plan(tensors, text as Record<string, string>);
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining(reason) });
  });

  it('refuses an update without a scalar that the strategy asks for', () => {
    for (const value of [{}, { num_steps: '' }, { num_steps: 'NaN' }, { num_steps: 'Infinity' }]) {
      expect(plan([w, b], { ...metadata, ...value }, ['num_steps']).result).toMatchObject({ ok: false });
    }
  });
});

describe('averageMetrics', () => {
  it('weighs each metric by the examples of those who report it', () => {
    const reports = [
      { metrics: { loss: 1, accuracy: 0.5 }, numExamples: 10 },
      { metrics: { loss: 4 }, numExamples: 30 },
    ];
    expect(averageMetrics(reports)).toEqual({ loss: 3.25, accuracy: 0.5 });
    expect(averageMetrics([])).toEqual({});
  });

  it('keeps the 32 metrics that most report, whatever a single device invents', () => {
    const invented = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`invented ${i}`, i]));
    const reports = [
      { metrics: invented, numExamples: 1_000_000 },
      { metrics: { loss: 1 }, numExamples: 1 },
      { metrics: { loss: 3 }, numExamples: 1 },
    ];
    const averages = averageMetrics(reports);
    expect(Object.keys(averages)).toHaveLength(32);
    expect(averages).toMatchObject({ loss: 2 });
  });

  it('stays finite where a sum would overflow', () => {
    const reports = [
      { metrics: { loss: 1e308 }, numExamples: 1e12 },
      { metrics: { loss: 1e308 }, numExamples: 1e12 },
    ];
    expect(averageMetrics(reports)).toEqual({ loss: 1e308 });
  });

  it('takes a name like __proto__ for a name', () => {
    const metrics = JSON.parse('{"__proto__": 2}') as Record<string, number>;
    expect(Object.entries(averageMetrics([{ metrics, numExamples: 1 }]))).toEqual([['__proto__', 2]]);
  });
});
