import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const MODULE = new URL('../api/thread-priority.ts', import.meta.url);

/** The priorities of a process of its own, by the names of its threads, when it has done `act`. */
async function prioritiesAfter(act: string): Promise<Record<string, number[]>> {
  const code = `
    import { readdirSync, readFileSync } from 'node:fs';
    import { readFile } from 'node:fs/promises';
    const { putEventLoopFirst } = await import(${JSON.stringify(MODULE.href)});
    await readFile('/proc/self/comm');
    ${act};
    const threads = readdirSync('/proc/self/task').map((id) => {
      const stat = readFileSync(\`/proc/self/task/\${id}/stat\`, 'utf8');
      const name = Number(id) === process.pid ? 'main' : stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      return { name, nice: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]) };
    });
    console.log(JSON.stringify(Object.groupBy(threads, ({ name }) => name)));
    process.exit();
  `;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code]);
  const threads = JSON.parse(stdout) as Record<string, { nice: number }[]>;
  return Object.fromEntries(
    Object.entries(threads).map(([name, all]) => [name, [...new Set(all.map(({ nice }) => nice))]]),
  );
}

it.runIf(process.platform === 'linux')('the event loop runs before the threads that help it', async () => {
  const before = await prioritiesAfter('');
  const [niceness] = before.main!;
  expect(before).toMatchObject({ main: [niceness], 'libuv-worker': [niceness], V8Worker: [niceness] });
  const after = await prioritiesAfter('putEventLoopFirst()');
  expect(after).toMatchObject({ main: [niceness], 'libuv-worker': [5], V8Worker: [5] });
});
