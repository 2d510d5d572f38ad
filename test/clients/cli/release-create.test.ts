import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Call, fededge, fededgeInTerminal, fededgeProcess } from './support/command.ts';
import { createRepository, digestOf, type Repository, releaseOf } from './support/repositories.ts';
import {
  describeRelease,
  type ScriptedOperator,
  scriptedRun,
  startScriptedOperator,
} from './support/scripted-operator.ts';

const FILE = 'infra/environments/dev/models/mnist.yaml';
let server: ScriptedOperator;
let repository: Repository;
let call: Call;
beforeAll(async () => {
  server = await startScriptedOperator([6, 7, 8]);
});
afterAll(() => server.close());
function begin() {
  server.releases = [];
  repository = createRepository();
  call = { cwd: repository.root, env: server.env };
}

const create = (...args: string[]) => fededge(['release', 'create', '--environment', 'dev', ...args], call);
const mnist = (version: number, ...args: string[]) =>
  create('--model', 'mnist', '--version', String(version), ...args);

describe('release create', () => {
  beforeEach(begin);
  afterEach(() => repository.remove());

  it('writes the file, renders, shows the difference, and commits nothing by itself', async () => {
    const head = repository.git('rev-parse', 'HEAD');
    const { code, stdout } = await mnist(7);
    expect(code).toBe(0);
    expect(repository.read(FILE)).toBe(releaseOf(7));
    expect(stdout).toContain(`+++ b/${FILE}`);
    expect(stdout).toMatch(/\+\+\+ b\/infra\/manifests\/dev\/.*\n[\s\S]*\+.*"version": 7/);
    expect(stdout).toContain('nothing is committed yet (--commit does it)');
    expect(repository.git('rev-parse', 'HEAD')).toBe(head);
    expect(repository.git('diff', '--cached', '--name-only')).toBe('');
  });

  it('commits the file and the manifests alone, and says so as an object', async () => {
    repository.write('notes.txt', 'mine');
    repository.git('add', 'notes.txt');
    const which = ['--environment', 'dev', '--model', 'mnist', '--version', '7'];
    const args = ['release', 'create', ...which, '--commit', '--json'];
    const { code, stdout, stderr, json } = await fededgeProcess(args, call);
    expect([code, stdout.trim().split('\n').length]).toEqual([0, 1]);
    expect(stderr).toContain(`+++ b/${FILE}`);
    expect(json()).toMatchObject({
      environment: 'dev',
      file: FILE,
      release: { model: 'mnist', version: 7, digest: digestOf(7) },
      commit: repository.git('rev-parse', 'HEAD'),
      branch: 'main',
      pushed: false,
    });
    expect(repository.git('log', '-1', '--format=%s')).toBe('release(dev): mnist 7');
    const committed = repository.git('show', '--name-only', '--format=', 'HEAD').split('\n');
    expect(committed.filter((path) => path !== FILE && !path.startsWith('infra/manifests/dev/'))).toEqual([]);
    expect(repository.git('status', '--porcelain')).toBe('A  notes.txt');
  });

  it('names what was there as previous, and keeps rules and comments', async () => {
    repository.write(FILE, releaseOf(6, ['# slowly', 'bakeSeconds: 60']));
    repository.commit('version 6');
    await mnist(7, '--commit');
    expect(repository.read(FILE)).toBe(releaseOf(7, ['previous: 6', '# slowly', 'bakeSeconds: 60']));
    await mnist(7, '--percent', '50,100', '--commit');
    expect(repository.read(FILE)).toContain('previous: 6\n');
    expect(repository.read(FILE)).toContain('percent: [50, 100]');
  });

  it('goes on from what is committed, not from its own draft', async () => {
    repository.write(FILE, releaseOf(6));
    repository.commit('version 6');
    await mnist(7);
    await mnist(8, '--commit');
    expect(repository.read(FILE)).toBe(releaseOf(8, ['previous: 6']));
  });

  it('never names a version that was paused', async () => {
    repository.write(FILE, releaseOf(7, ['previous: 6']));
    repository.commit('version 7');
    server.releases = [describeRelease({ state: 'paused', version: 7, previous: 6 })];
    await mnist(8);
    expect(repository.read(FILE)).toContain('previous: 6\n');
  });

  it('knows the number behind a channel', async () => {
    repository.write(FILE, 'model: mnist\nchannel: head\n');
    repository.commit('head');
    server.releases = [describeRelease({ state: 'complete', channel: 'head', version: 7, previous: null })];
    await mnist(8);
    expect(repository.read(FILE)).toBe(releaseOf(8, ['previous: 7']));
  });

  it('says it where nobody knows what devices have', async () => {
    repository.write(FILE, 'model: mnist\nchannel: head\n');
    repository.commit('head');
    const { stdout } = await mnist(8);
    expect(stdout).toContain('which version devices have is not known here');
  });

  it('takes canaries, a gate and a time to bake', async () => {
    const rules = [
      '--canary',
      'site=lab',
      '--percent',
      '5,25,100',
      '--gate',
      'accuracy>=0.9',
      '--reports',
      '3',
    ];
    await mnist(7, ...rules, '--bake', '10m');
    expect(repository.read(FILE)).toBe(
      releaseOf(7, [
        'cohorts:',
        '  - name: canary',
        '    labels: {site: [lab]}',
        '    percent: [100]',
        '  - name: everyone',
        '    percent: [5, 25, 100]',
        'gate:',
        '  metric: accuracy',
        '  atLeast: 0.9',
        '  reports: 3',
        'bakeSeconds: 600',
      ]),
    );
  });

  it('takes the last version of a run', async () => {
    const { code } = await create('--from-run', scriptedRun);
    expect([code, repository.read(FILE)]).toEqual([0, releaseOf(8)]);
  });

  it('needs no server for a channel or a digest', async () => {
    call = { cwd: repository.root };
    await create('--model', 'mnist', '--channel', 'head');
    expect(repository.read(FILE)).toBe('model: mnist\nchannel: head\n');
    await mnist(7, '--digest', digestOf(7));
    expect(repository.read(FILE)).toBe(releaseOf(7));
  });

  it('does nothing a second time', async () => {
    await mnist(7, '--commit');
    const head = repository.git('rev-parse', 'HEAD');
    const { code, stdout } = await mnist(7, '--commit');
    expect([code, stdout]).toEqual([0, 'mnist 7 is what dev has already; nothing to do\n']);
    expect(repository.git('rev-parse', 'HEAD')).toBe(head);
  });

  it('commits on a branch, and pushes it', async () => {
    const remote = `${repository.root}/remote.git`;
    repository.git('init', '--quiet', '--bare', remote);
    repository.git('remote', 'add', 'origin', remote);
    const { code, json } = await mnist(7, '--branch', 'mnist-7', '--push', '--json');
    expect([code, json()]).toMatchObject([0, { branch: 'mnist-7', pushed: true }]);
    expect(repository.git('--git-dir', remote, 'rev-parse', 'mnist-7')).toBe(
      repository.git('rev-parse', 'HEAD'),
    );
  });
});

describe('release create changes nothing and says what to do when', () => {
  beforeAll(begin);
  afterAll(() => repository.remove());
  afterEach(() => void repository.git('clean', '--quiet', '-d', '--force'));
  it.each([
    [['--model', 'mnist', '--version', '9'], 1, 'not_found'],
    [['--model', 'mnist', '--version', 'nine'], 2, 'is no version'],
    [['--model', 'Mnist', '--channel', 'head'], 2, "is no model's name"],
    [['--model', 'mnist'], 2, '--version is missing'],
    [['--version', '7'], 2, '--model is missing'],
    [['--model', 'mnist', '--version', '7', '--digest', 'sha-256:1'], 1, 'digest: sha-256: and 64'],
    [['--model', 'mnist', '--version', '7', '--percent', '5,1'], 2, 'no list of steps'],
    [['--model', 'mnist', '--version', '7', '--previous', '7'], 1, 'previous: it is the version itself'],
    [['--model', 'mnist', '--file', 'x.safetensors'], 2, '--file needs --to'],
    [['--model', 'other', '--from-run', scriptedRun], 2, 'trains mnist'],
    [['--environment', 'nowhere', '--model', 'mnist', '--channel', 'head'], 2, 'There are: dev, staging.'],
  ])('%j', async (args, wanted, message) => {
    const { code, stderr } = await create(...args);
    expect([code, stderr]).toEqual([wanted, expect.stringContaining(message)]);
    expect(repository.git('status', '--porcelain')).toBe('');
  });

  it('the key is not known', async () => {
    repository.write('key', 'fedop_wrong');
    const { code, stderr } = await mnist(7, '--key-file', 'key');
    expect([code, stderr]).toEqual([1, expect.stringMatching(/unauthorized[\s\S]*--key-file/)]);
  });

  it('manifests cannot be rendered', async () => {
    repository.write('infra/environments/dev/models/other.yaml', 'model: else\nchannel: head\n');
    const { code, stderr } = await mnist(7);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/cannot be rendered: .*other\.yaml/)]);
    expect(repository.git('status', '--porcelain', '--untracked-files')).not.toContain(FILE);
  });

  it('something else below infra is not committed', async () => {
    repository.write('infra/environments/dev/runs/night.yaml', 'model: mnist\n');
    const { code, stderr } = await mnist(7, '--commit');
    expect([code, stderr]).toEqual([1, expect.stringContaining('dev/runs/night.yaml')]);
  });

  it('it is called outside of a clone', async () => {
    const args = ['release', 'create', '--environment', 'dev', '--model', 'mnist', '--channel', 'head'];
    const { code, stderr } = await fededge(args, { cwd: '/tmp' });
    expect([code, stderr]).toEqual([1, expect.stringContaining('--repository FOLDER')]);
  });
});

describe.skipIf(process.platform !== 'linux')('release create in a terminal', () => {
  beforeEach(begin);
  afterEach(() => repository.remove());

  it('asks for what is missing', async () => {
    // Enter for dev, mnist, the newest version and its steps, and to commit.
    const { code, stdout } = await fededgeInTerminal(['release', 'create'], call, '\r\r\r\r\r');
    expect([code, stdout]).toEqual([0, expect.stringContaining('Environment')]);
    expect(repository.read(FILE)).toBe(releaseOf(8));
    expect(repository.git('log', '-1', '--format=%s')).toBe('release(dev): mnist 8');
  });

  it('changes nothing when it is stopped', async () => {
    const { code, stdout } = await fededgeInTerminal(['release', 'create'], call, '\u0003');
    expect([code, stdout]).toEqual([1, expect.stringContaining('nothing was changed')]);
    expect(repository.git('status', '--porcelain')).toBe('');
  });

  it('has colours, but not with NO_COLOR', async () => {
    const args = ['release', 'create', '--environment', 'dev', '--model', 'mnist', '--channel', 'head'];
    const plain = await fededgeInTerminal(args, { ...call, env: { ...server.env, NO_COLOR: '1' } }, '');
    expect(plain.stdout).not.toContain('\u001b[3');
    repository.git('checkout', '--quiet', '.');
    repository.git('clean', '--quiet', '-d', '--force');
    expect((await fededgeInTerminal(args, call, '')).stdout).toContain('\u001b[32m');
  });
});
