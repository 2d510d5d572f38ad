import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fededge, fededgeProcess } from './support/command.ts';
import {
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
  server.releases = [describeRelease({ id: 'old', state: 'superseded' }), describeRelease({ step: 1 })];
  server.role = 'releaser';
  server.onLook = undefined;
});

const halt = (...args: string[]) =>
  fededge(['release', 'halt', '--model', 'mnist', ...args], { cwd: '/tmp', env: server.env });
const states = () => server.releases.map(({ state }) => state);

describe('release halt', () => {
  it('halts the release that decides, and says what devices get', async () => {
    const call = { cwd: '/tmp', env: server.env };
    expect(await fededgeProcess(['release', 'halt', '--model', 'mnist'], call)).toMatchObject({
      code: 0,
      stderr: '',
      stdout: [
        'mnist 7, at step 2 of 3, is halted: every device gets version 6',
        'It stays so until the content of its release file changes: fededge release rollback, or create.',
        '',
      ].join('\n'),
    });
    expect(states()).toEqual(['superseded', 'halted']);
  });

  it('is an object with --json, and changes nothing the second time', async () => {
    const first = await halt('--json');
    expect(first.json()).toEqual({ release: JSON.parse(JSON.stringify(server.releases[1])), changed: true });
    expect(first.stderr).toContain('is halted: every device gets version 6');
    const again = await halt('--json');
    expect([again.code, again.json()]).toEqual([0, expect.objectContaining({ changed: false })]);
    expect(again.stderr).toContain('mnist 7, at step 2 of 3, was halted already');
  });

  it('says where nothing was there before, or nothing is given yet', async () => {
    server.releases = [describeRelease({ previous: null })];
    expect((await halt()).stdout).toContain('devices get no version, since there was none before');
    server.releases = [describeRelease({ state: 'waiting', version: null })];
    expect((await halt()).stdout).toContain('the release of mnist, at step 1 of 3, is halted');
  });

  it('of a version leaves another alone', async () => {
    expect(await halt('--version', '6')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('gives version 7, not 6; nothing was halted'),
    });
    expect(states()).toEqual(['superseded', 'rolling']);
    expect((await halt('--version', '7')).code).toBe(0);
    expect(states()).toEqual(['superseded', 'halted']);
  });

  it('tells that there is none, or that it has made way', async () => {
    server.releases = [describeRelease({ state: 'superseded' })];
    const none = await halt('--json');
    expect([none.code, none.json()]).toEqual([
      1,
      { error: { message: 'mnist has no release', next: expect.stringContaining('fededge release status') } },
    ]);
    server.releases = [describeRelease({})];
    server.fault('POST', /halt$/, () => {
      server.releases[0]!.state = 'superseded';
      return conflict;
    });
    expect(await halt()).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/just made way to another[\s\S]*fededge release status/),
    });
  });

  it('asks for the role that it needs', async () => {
    server.role = 'operator';
    expect(await halt()).toMatchObject({ code: 1, stderr: expect.stringMatching(/releaser to halt/) });
    expect(states()).toEqual(['superseded', 'rolling']);
  });

  it('is repeated with the key of the first attempt where the answer was lost', async () => {
    server.fault('POST', /halt$/, 'drop answer');
    expect((await halt()).code).toBe(0);
    const keys = server.seen.slice(-2).map(({ headers }) => headers['idempotency-key']);
    expect(keys).toEqual([expect.any(String), keys[0]]);
  });
});

const conflict = {
  status: 409,
  headers: { 'content-type': 'application/problem+json' },
  body: { type: 'about:blank', title: 'conflict', status: 409, code: 'conflict', help: '', requestId: 'r' },
};
