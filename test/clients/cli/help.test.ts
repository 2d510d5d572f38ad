import { describe, expect, it } from 'vitest';
import { fededge, fededgeProcess, runProcess } from './support/command.ts';

const cwd = '/tmp';
const verbs = [
  '',
  'release',
  'release create',
  'release promote',
  'release rollback',
  'release halt',
  'release status',
  'manifests',
  'manifests render',
  'manifests diff',
  'doctor',
];

describe('fededge --help', () => {
  it.each(verbs)('explains %s', async (verb) => {
    const { code, stdout, stderr } = await fededge([...verb.split(' ').filter(Boolean), '--help'], { cwd });
    expect([code, stderr]).toEqual([0, '']);
    await expect(stdout).toMatchFileSnapshot(
      `golden/${['fededge', ...verb.split(' ')].filter(Boolean).join('-')}.txt`,
    );
  });
});

describe('a call that cannot be understood', () => {
  it.each([
    [[], 'Usage: fededge'],
    [['release', 'crate'], 'Did you mean create?'],
    [['release', 'promote', '--model', 'mnist'], "required option '--from <environment>'"],
    [['release', 'create', '--version', '7', '--channel', 'head'], 'cannot be used with'],
    [['release', 'status', '--every', 'soon', '--url', 'http://127.0.0.1:9'], 'no operator key'],
    [['release', 'halt'], "required option '--model <name>'"],
    [['release', 'halt', '--model', 'mnist', '--version', 'last'], 'A number from 1.'],
    [['release', 'status'], 'no server'],
    [['manifests', 'diff', 'more'], 'too many arguments'],
  ])('%j exits with 2', async (args, message) => {
    const { code, stderr } = await fededge(args, { cwd });
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it('is told as an object too, with --json', async () => {
    const { code, json } = await fededgeProcess(['release', 'status', '--json'], { cwd });
    expect([code, json()]).toEqual([
      2,
      { error: { message: 'no server', next: 'Name it: --url http://127.0.0.1:8080 or FEDEDGE_URL.' } },
    ]);
  });
});

it('starts by its launcher, and hands on arguments and the exit code', async () => {
  const launcher = new URL('../../../clients/cli/fededge.mjs', import.meta.url).pathname;
  const version = await runProcess(launcher, ['--version'], { cwd });
  expect([version.code, version.stdout]).toEqual([0, '0.1.0\n']);
  expect((await runProcess(launcher, ['nothing'], { cwd })).code).toBe(2);
});
