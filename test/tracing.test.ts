import { describe, expect, it } from 'vitest';
import { traced, tracedInRound } from '../api/tracing/spans.ts';

const round = '01890000-0000-7000-8000-000000000001';

describe.each([
  ['traced', (work: Parameters<typeof traced<number>>[2]) => traced('work', { bytes: 1 }, work)],
  ['tracedInRound', (work: Parameters<typeof traced<number>>[2]) => tracedInRound(round, 'work', {}, work)],
])('%s, while nobody traces', (_, run) => {
  it('gives what the work gives, and a span that takes everything', async () => {
    const result = run(async (span) => {
      span.setAttribute('updates', 3);
      span.addEvent('folded');
      return span.isRecording() ? 0 : 7;
    });
    expect(await result).toBe(7);
  });

  it('rejects as the work does', async () => {
    const fault = new Error('injected');
    await expect(run(() => Promise.reject(fault))).rejects.toBe(fault);
    const thrown = run(() => {
      throw fault;
    });
    await expect(thrown).rejects.toBe(fault);
  });
});
