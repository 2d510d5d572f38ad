import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createDemoFolder,
  type Demo,
  type DemoFolder,
  descendantsOf,
  type Published,
  readPublished,
  untilGone,
} from '../../support/acceptance/demos.ts';
import { startProgram } from '../../support/acceptance/programs.ts';
import { waitFor } from '../../support/acceptance/waiting.ts';

const WEIGHT_BYTES = 101_770 * 4;
const ROUNDS = 8;
/** Long enough to be interrupted several times. */
const DEVICES = 2;
const LONG = ['--devices', String(DEVICES), '--rounds', String(ROUNDS)];

let folder: DemoFolder;
beforeEach(async () => {
  folder = await createDemoFolder();
});
afterEach(() => folder.close());

describe('the demo', { timeout: 180_000 }, () => {
  it('trains, compares and prints one object in the last line', async () => {
    const demo = folder.startDemo('--devices', '3', '--rounds', '3');
    await expectEnd(demo, 0);
    const result = readResult(demo);
    expect(Object.keys(result)).toEqual([
      'devices',
      'rounds',
      'accuracy',
      'centralAccuracy',
      'seconds',
      'bytesUp',
      'bytesDown',
    ]);
    expect(result).toMatchObject({ devices: 3, rounds: 3 });
    expect(result.accuracy).toBeGreaterThan(0.6);
    expect(result.accuracy).toBeLessThan(1);
    expect(result.centralAccuracy).toBeGreaterThan(0.85);
    expect(result.seconds).toBeGreaterThan(0);
    for (const bytes of [result.bytesUp!, result.bytesDown!]) {
      expect(bytes).toBeGreaterThan(3 * 3 * WEIGHT_BYTES);
      expect(bytes).toBeLessThan(3 * 3 * WEIGHT_BYTES * 1.05);
    }
    expect(demo.output('stderr').match(/round \d\/3 {2}3\/3 updates {2}accuracy \d\d\.\d\d %/g)).toHaveLength(
      3,
    );
    expect(demo.output('stderr')).not.toContain('\x1b');
  });

  it('goes on after Ctrl-C, and its folder is served in the middle of the run', async () => {
    const first = folder.startDemo(...LONG);
    await untilPublished(first, 2);
    const started = descendantsOf(first.pid);
    expect(started.length).toBeGreaterThanOrEqual(DEVICES + 2);
    first.signal('SIGINT');
    await expectEnd(first, 130);
    expect(first.output('stderr')).toContain(`npm start -- --data-dir ${folder.path}`);
    expect(first.output('stdout')).toBe('');
    await untilGone(started);

    const interrupted = await folder.inspect();
    expect(interrupted.run.state).toBe('active');
    expect(interrupted.run.completedRounds).toBeGreaterThanOrEqual(1);
    expect(interrupted.run.completedRounds).toBeLessThan(ROUNDS);
    await finish(interrupted);
  });

  it('goes on after kill -9 of itself, then of all that it runs', async () => {
    const first = folder.startDemo(...LONG);
    const once = await untilPublished(first, 2);
    await first.kill9();
    const second = folder.startDemo(...LONG);
    const twice = await untilPublished(second, once.versions.length + 1);
    expect(twice.run.id).toBe(once.run.id);
    expectKept(once, twice);
    const { pid } = second;
    for (const process of [
      pid,
      ...descendantsOf(pid)
        .filter(isOurs)
        .map((child) => child.pid),
    ])
      kill9(process);
    await second.ended;
    await finish(twice);
  });

  it('starts a device or a server again that was killed', async () => {
    const demo = folder.startDemo(...LONG);
    await untilPublished(demo, 2);
    const [device] = descendantsOf(demo.pid).filter(({ command }) => command.includes('device.ts'));
    kill9(device!.pid);
    const before = await untilPublished(demo, 4);
    const [server] = descendantsOf(demo.pid).filter(({ command }) => command.includes('api/server.ts'));
    kill9(server!.pid);
    await expectEnd(demo, 0);
    expect(demo.output('stderr')).toMatch(/device \d has ended by SIGKILL: starting it again/);
    expect(demo.output('stderr')).toContain('the server has ended by SIGKILL: starting it again');
    expect(readResult(demo)).toMatchObject({ devices: DEVICES, rounds: ROUNDS });
    expectWhole(await folder.inspect(), before);
  });
});

describe('its command line', () => {
  it('explains itself', async () => {
    const help = startProgram(['scripts/demo.ts', '--help'], {});
    expect(await help.ended).toMatchObject({ code: 0 });
    for (const option of ['--devices', '--rounds', '--data-dir', '--port', '--json']) {
      expect(help.output('stdout')).toContain(option);
    }
  });

  it.each([
    ['--devices', '0'],
    ['--rounds', 'many'],
    ['--port', '70000'],
    ['--speed', '9'],
  ])('refuses %s %s', async (...args) => {
    const refused = startProgram(['scripts/demo.ts', ...args], {});
    expect(await refused.ended).toMatchObject({ code: 1 });
    expect(refused.output('stderr')).toContain(args[0]);
  });
});

/** A demo says why it has ended. */
async function expectEnd(demo: Demo, code: number): Promise<void> {
  const end = await demo.ended;
  expect(end, demo.output('stderr')).toEqual({ code, signal: null });
}

/** Starts the demo once more on what it has left, and compares what it makes of it. */
async function finish(before: Published): Promise<void> {
  const demo = folder.startDemo(...LONG);
  await expectEnd(demo, 0);
  expect(demo.output('stderr')).toContain(`${before.run.id}, goes on after`);
  expect(readResult(demo)).toMatchObject({ devices: DEVICES, rounds: ROUNDS });
  expectWhole(await folder.inspect(), before);
}

/** Every round that was asked for is published once, and nothing of what was published before has changed. */
function expectWhole(after: Published, before: Published): void {
  expect(after.run).toMatchObject({ id: before.run.id, state: 'completed', completedRounds: ROUNDS });
  expect(after.versions.map(({ version }) => version)).toEqual(
    Array.from({ length: ROUNDS + 1 }, (_, index) => index + 1),
  );
  const completed = after.rounds.filter(({ state }) => state === 'completed');
  expect(completed.map(({ version }) => version)).toEqual(
    after.versions.slice(1).map(({ version }) => version),
  );
  expect(after.versions.slice(1).map(({ round }) => round)).toEqual(completed.map(({ id }) => id));
  expect(completed.every(({ accepted }) => accepted === DEVICES)).toBe(true);
  expectKept(before, after);
}

function expectKept(before: Published, after: Published): void {
  const digests = ({ versions }: Published) => versions.map(({ version, digest }) => `${version} ${digest}`);
  expect(digests(after)).toEqual(expect.arrayContaining(digests(before)));
}

async function untilPublished(demo: Demo, versions: number): Promise<Published> {
  const operator = await demo.operator();
  return await waitFor(`${versions} versions are published`, async () => {
    const published = await readPublished(operator);
    return published.versions.length >= versions ? published : undefined;
  });
}

function readResult(demo: Demo): Record<string, number> {
  return JSON.parse(demo.output('stdout').trimEnd().split('\n').at(-1)!);
}

/** PostgreSQL is left alone: the next server takes it over, as it does after a server was killed. */
function isOurs({ command }: { command: string }): boolean {
  return /(server|device|central)\.ts/.test(command);
}

function kill9(pid: number): void {
  process.kill(pid, 'SIGKILL');
}
