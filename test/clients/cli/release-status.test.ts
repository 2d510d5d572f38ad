import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fededge, fededgeInTerminal, fededgeProcess } from './support/command.ts';
import {
  catalogReadAt,
  describeRelease,
  type ScriptedOperator,
  startScriptedOperator,
} from './support/scripted-operator.ts';

let server: ScriptedOperator;
beforeAll(async () => {
  server = await startScriptedOperator([6, 7]);
});
afterAll(() => server.close());
beforeEach(() => {
  server.releases = [describeRelease({})];
});

const status = (...args: string[]) =>
  fededge(['release', 'status', ...args], { cwd: '/tmp', env: server.env });

describe('release status', () => {
  it('is a table', async () => {
    server.releases.push(
      describeRelease({
        id: 'other',
        model: 'vibration',
        state: 'paused',
        reason: 'gate_failed: loss 0.9 is above 0.5, over 3 reports',
        gate: null,
      }),
      describeRelease({ id: 'old', model: 'old', state: 'superseded' }),
    );
    const call = { cwd: '/tmp', env: server.env };
    const { code, stdout } = await fededgeProcess(['release', 'status'], call);
    expect(code).toBe(0);
    expect(stdout.replace(/\dm \d+s/g, '1m 30s')).toBe(
      [
        'MODEL      VERSION    STATE    STEP  COHORTS                           GATE                                               SINCE',
        'mnist      7 (was 6)  rolling  1/3   canary 100%, everyone 5%          accuracy [==========] 0.9412 >= 0.9 (4/3 reports)  1m 30s',
        'vibration  7 (was 6)  paused   1/3   none: all get the version before  -                                                  1m 30s',
        'vibration has failed its gate: loss 0.9 is above 0.5, over 3 reports',
        '',
      ].join('\n'),
    );
  });

  it('is an object with --json, superseded releases only with --all', async () => {
    server.releases.push(describeRelease({ id: 'old', state: 'superseded' }));
    expect((await status('--json')).json()).toEqual({
      releases: [JSON.parse(JSON.stringify(server.releases[0]))],
      catalog: { readAt: catalogReadAt, faults: [], waiting: [] },
    });
    expect((await status('--json', '--all')).json().releases).toHaveLength(2);
  });

  it('tells what waits from what has failed', async () => {
    server.releases = [
      describeRelease({ state: 'waiting', version: null, reason: 'no_version' }),
      describeRelease({
        id: 'b',
        model: 'b',
        state: 'waiting',
        reason: 'digest_differs: version 2 has 9f2c',
      }),
      describeRelease({ id: 'c', model: 'c', state: 'waiting', reason: 'import_failed: ECONNREFUSED' }),
      describeRelease({ id: 'd', model: 'd', state: 'paused', reason: 'of_a_later_server: x' }),
    ];
    server.faults = [{ file: 'runs/broken.yaml', message: 'round: unknown key' }];
    server.waiting = [{ file: 'runs/nightly.yaml', message: 'waits for the first version of mnist' }];
    const { code, stdout } = await status();
    server.faults = server.waiting = [];
    expect([code, stdout.trimEnd().split('\n').slice(-6)]).toEqual([
      0,
      [
        'mnist waits for the version that its file names, which the server does not have yet',
        'b has failed: its file names another digest than the server has: version 2 has 9f2c',
        'c cannot import its version, and tries again: ECONNREFUSED',
        'd is paused: of_a_later_server: x',
        'runs/broken.yaml does not hold and changes nothing: round: unknown key',
        'runs/nightly.yaml is in order; its run waits for the first version of mnist',
      ],
    ]);
  });

  it('says that a model has none', async () => {
    server.releases = [];
    expect(await status()).toMatchObject({ code: 0, stdout: expect.stringContaining('no releases') });
    expect(await status('--model', 'mnist')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('mnist has no release'),
    });
  });

  it.each([
    ['complete', 0],
    ['paused', 1],
    ['halted', 1],
  ] as const)('watches until it is %s: exit code %i, a line a change', async (state, wanted) => {
    let looks = 0;
    const changes = [{}, {}, { step: 1 }, { step: 1 }, { step: 2, state }];
    server.onLook = () => {
      server.releases = [describeRelease(changes[Math.min(looks++, changes.length - 1)]!)];
    };
    const { code, stdout } = await status('--model', 'mnist', '--watch', '--every', '1s');
    server.onLook = undefined;
    expect(code).toBe(wanted);
    expect(stdout.trimEnd().split('\n')).toEqual([
      expect.stringContaining('mnist 7 (was 6): rolling, step 1 of 3, accuracy [==========] 0.9412 >= 0.9'),
      expect.stringContaining('rolling, step 2 of 3'),
      expect.stringContaining(`${state}, step 3 of 3`),
    ]);
  });

  it('draws bars in a terminal', async () => {
    server.releases = [
      describeRelease({ gate: { ...describeRelease({}).gate!, value: 0.45, holds: false } }),
    ];
    const call = { cwd: '/tmp', env: server.env };
    const { stdout } = await fededgeInTerminal(['release', 'status'], call, '');
    expect(stdout).toContain('█████░░░░░');
    expect(stdout).toContain('\u001b[36mrolling');
  });

  it('tells that the server is not there', async () => {
    const env = { ...server.env, FEDEDGE_URL: 'http://127.0.0.1:9' };
    const { code, stderr } = await fededge(['release', 'status'], { cwd: '/tmp', env });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/not reached[\s\S]*fededge doctor/)]);
  });
});
