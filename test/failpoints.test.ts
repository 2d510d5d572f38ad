import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const module = new URL('../api/failpoints.ts', import.meta.url).href;

/** Passes these points in turn in a process of its own; answers what it has printed and the signal that ended it. */
async function pass(spec: string | undefined, names: readonly string[]) {
  const program = `
    const { createFailpoints } = await import(${JSON.stringify(module)});
    const failpoint = createFailpoints(${JSON.stringify(spec)});
    for (const name of ${JSON.stringify(names)}) { await failpoint(name); process.stdout.write(name + ' '); }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [printed, [, signal]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return { printed: printed.trim(), signal: signal as string | null };
}

describe('createFailpoints', () => {
  it('does nothing without a spec', async () => {
    expect(await pass(undefined, ['a', 'b'])).toEqual({ printed: 'a b', signal: null });
  });

  it('kills at the named point, at the first pass', async () => {
    expect(await pass('b', ['a', 'b', 'c'])).toEqual({ printed: 'a', signal: 'SIGKILL' });
  });

  it('kills at the pass that the spec counts', async () => {
    expect(
      await pass('round.mid_fold:3', ['round.mid_fold', 'round.mid_fold', 'x', 'round.mid_fold']),
    ).toEqual({
      printed: 'round.mid_fold round.mid_fold x',
      signal: 'SIGKILL',
    });
  });
});
