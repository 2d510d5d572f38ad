import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signS3 } from '../../../clients/cli/artifacts/s3-signature.ts';
import { parseReference, pullWeights } from '../../../clients/oci/index.ts';
import { tensorFile } from '../../support/tensor-files.ts';
import { findDockerRegistry, startDockerRegistry } from '../oci/support/docker-registry.ts';
import { fededge } from './support/command.ts';
import { createRepository, type Repository } from './support/repositories.ts';

const FILE = 'infra/environments/dev/models/mnist.yaml';
const weights = tensorFile([{ name: 'w', shape: [3], values: [1, 2, 3] }]);
const sha256 = createHash('sha256').update(weights).digest('hex');
let repository: Repository;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fededge-artifact-'));
  writeFileSync(join(folder, 'mnist.safetensors'), weights);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  repository = createRepository();
});
afterEach(() => repository.remove());

const create = (file: string, to: string, env: Record<string, string> = {}) => {
  const args = ['--environment', 'dev', '--model', 'mnist', '--file', file, '--to', to];
  return fededge(['release', 'create', '--repository', repository.root, ...args], { cwd: folder, env });
};

describe('release create --file', () => {
  const found = findDockerRegistry();
  it('pushes to an OCI registry, and names what it pushed', async ({ skip }) => {
    if ('missing' in found) return skip(found.missing);
    writeFileSync(
      join(folder, 'htpasswd'),
      'fededge:$2a$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n',
    );
    const auth = { kind: 'htpasswd' as const, realm: 'fededge', path: join(folder, 'htpasswd') };
    const registry = await startDockerRegistry(found.program, auth);
    try {
      const to = `oci://${registry.host}/models/mnist:7`;
      const refused = await create('mnist.safetensors', to);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('docker login') });
      expect(repository.git('status', '--porcelain')).toBe('');

      const credentials = { username: 'fededge', password: 'open sesame' };
      const login = Buffer.from(Object.values(credentials).join(':')).toString('base64');
      writeFileSync(
        join(folder, 'config.json'),
        JSON.stringify({ auths: { [registry.host]: { auth: login } } }),
      );
      const { code } = await create('mnist.safetensors', to, { DOCKER_CONFIG: folder });
      expect(code).toBe(0);
      const [, oci = ''] = /^ {2}oci: (.*)$/m.exec(repository.read(FILE)) ?? [];
      expect(repository.read(FILE)).toBe(`model: mnist\nsource:\n  oci: ${oci}\ndigest: sha-256:${sha256}\n`);
      await pullWeights(parseReference(oci)!, join(folder, 'pulled'), { credentials });
      expect(readFileSync(join(folder, 'pulled')).equals(weights)).toBe(true);
    } finally {
      await registry.close();
    }
  });

  it('puts it into S3', async () => {
    const S3rver = createRequire(import.meta.url)('s3rver') as new (
      options: object,
    ) => {
      run(): Promise<{ port: number }>;
      close(): Promise<void>;
    };
    const directory = join(folder, 's3');
    const buckets = [{ name: 'models', configs: [] }];
    const s3 = new S3rver({
      port: 0,
      address: '127.0.0.1',
      silent: true,
      directory,
      configureBuckets: buckets,
    });
    const { port } = await s3.run();
    try {
      const to = 's3://models/mnist (new)/7.safetensors'.replaceAll(' ', '+');
      const keys = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };
      const env = { AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`, ...keys };
      const elsewhere = await create('mnist.safetensors', 's3://nowhere/7.safetensors', env);
      expect(elsewhere).toMatchObject({ code: 1, stderr: expect.stringContaining('NoSuchBucket') });
      const { code } = await create('mnist.safetensors', to, env);
      expect(code).toBe(0);
      expect(repository.read(FILE)).toBe(`model: mnist\nsource:\n  s3: ${to}\ndigest: sha-256:${sha256}\n`);
      const key = to.replace('s3://models/', '');
      expect(readFileSync(join(directory, 'models', `${key}._S3rver_object`)).equals(weights)).toBe(true);
    } finally {
      await s3.close();
    }
  });

  it.each([
    ['cut.safetensors', weights.subarray(0, -1), 'its length is not what its header says'],
    ['text.safetensors', Buffer.from('not weights, but a text of some length'), 'is no file of weights'],
    [
      'half.safetensors',
      tensorFile([{ name: 'w', shape: [1], values: [1] }]).subarray(0, 5),
      'is no file of weights',
    ],
  ])('sends nothing of %s', async (name, bytes, message) => {
    writeFileSync(join(folder, name), bytes);
    const { code, stderr } = await create(name, 'oci://127.0.0.1:9/models/mnist');
    expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
  });

  it('names places that there are', async () => {
    for (const to of ['mnist', 'oci://mnist', 's3://bucket', 'https://models.example/']) {
      expect(await create('mnist.safetensors', to)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('--to'),
      });
    }
  });
});

it('signs as AWS does', async () => {
  const access = {
    accessKeyId: 'AKIA',
    secretAccessKey: 'secret',
    sessionToken: 'token',
    region: 'eu-central-1',
  };
  const url = new URL('https://s3.eu-central-1.amazonaws.com/models/mnist%20%28new%29/7.safetensors');
  const now = new Date('2026-11-24T21:00:00Z');
  const { authorization, ...headers } = signS3(access, { method: 'PUT', url, payload: sha256, now });
  const signer = new AwsV4Signer({
    ...access,
    method: 'PUT',
    url: url.href,
    service: 's3',
    datetime: '20261124T210000Z',
    headers,
  });
  expect(authorization).toBe((await signer.sign()).headers.get('authorization'));
});
