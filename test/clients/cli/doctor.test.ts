import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fededge } from './support/command.ts';
import { createRepository, type Repository } from './support/repositories.ts';
import { type ScriptedOperator, startScriptedOperator } from './support/scripted-operator.ts';

let server: ScriptedOperator;
let repository: Repository;
beforeAll(async () => {
  server = await startScriptedOperator([7]);
});
afterAll(() => server.close());
beforeEach(() => {
  server.skewMs = 0;
  repository = createRepository();
});
afterEach(() => repository.remove());

interface Finding {
  check: string;
  state: string;
  message: string;
}

async function examine(args: readonly string[] = [], env = server.env) {
  const { code, json, stderr } = await fededge(['doctor', '--json', ...args], { cwd: repository.root, env });
  const findings = json().findings as Finding[];
  return { code, stderr, found: (check: string) => findings.find((finding) => finding.check === check) };
}

describe('doctor', () => {
  it('finds nothing wrong', async () => {
    const { code, stderr, found } = await examine();
    expect(stderr).not.toContain('FAULT');
    expect(code).toBe(0);
    expect(found('server')).toMatchObject({ state: 'ok', message: expect.stringContaining(server.url) });
    expect(found('clock')?.state).toBe('ok');
    expect(found('version')).toMatchObject({ message: 'server 0.1.0, this command 0.1.0' });
    expect(found('readiness')).toMatchObject({ state: 'ok', message: 'database ok, schema ok' });
    expect(found('environment dev')).toMatchObject({ state: 'ok', message: '0 models, 0 runs' });
    expect(found('manifests')?.state).toBe('ok');
    expect(found('git')?.state).toBe('ok');
  });

  it.each(['viewer', 'operator', 'releaser'] as const)('knows a key of role %s', async (role) => {
    server.role = role;
    expect((await examine()).found('key')).toMatchObject({
      state: 'ok',
      message: expect.stringContaining(`role ${role}`),
    });
  });

  it('names every fault at once', async () => {
    repository.write('key', 'fedop_other');
    repository.write('infra/environments/dev/models/mnist.yaml', 'model: mnist\nchanel: head\n');
    repository.write('infra/environments/dev/runs/night.yaml', '- no run');
    repository.write('infra/environments/staging/version.json', '{}');
    server.skewMs = 60_000;
    server.fault('GET', /readyz/, () => ({ status: 503, body: { checks: { database: 'timeout' } } }));
    const { code, stderr } = await examine(['--key-file', 'key']);
    expect(code).toBe(1);
    const told = stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ {2,}/g, ' | '));
    for (const line of [
      /^FAULT \| key \| the server does not know it/,
      /^warning \| clock \| the server’s is (59|60|61) s ahead/,
      /^FAULT \| readiness \| database timeout; npm run doctor on the server/,
      /^FAULT \| environment dev \| models\/mnist.yaml: there is no key chanel/,
      /^FAULT \| environment dev \| runs\/night.yaml: model is demanded/,
      /^FAULT \| environment staging \| version.json: image and tag are demanded/,
      /^FAULT \| manifests \| cannot be rendered/,
      /^warning \| work tree \| .*, main: 3 changes below infra are not committed/,
    ]) {
      expect(told).toContainEqual(expect.stringMatching(line));
    }
  });

  it('tells manifests that are not what they should be', async () => {
    repository.write('infra/manifests/dev/kustomization.yaml', 'resources: []\n');
    expect((await examine()).found('manifests')).toMatchObject({
      state: 'fault',
      message: expect.stringContaining('dev/kustomization.yaml is not what'),
    });
  });

  it('tells a server that is not there, and goes on', async () => {
    const { code, found } = await examine(['--url', 'http://127.0.0.1:9']);
    expect([code, found('server')?.state, found('manifests')?.state]).toEqual([1, 'fault', 'ok']);
  });
});
