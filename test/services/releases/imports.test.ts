import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Config } from '../../../api/config.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { importSources } from '../../../api/services/releases/imports/imports.ts';
import { createRun, stopRun } from '../../../api/services/rounds/runs.ts';
import { catalogLocks, whileAlone } from '../../../api/store/releases/catalog-locks.ts';
import { parseReference, pushWeights } from '../../../clients/oci/index.ts';
import {
  type DockerRegistry,
  findDockerRegistry,
  startDockerRegistry,
} from '../../clients/oci/support/docker-registry.ts';
import { startTokenService, type TokenService } from '../../clients/oci/support/token-service.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { startFakeS3 } from '../../support/fake-s3.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { createTestCatalog } from '../../support/releases.ts';
import { defaultSettings } from '../../support/rounds/rounds.ts';

const found = findDockerRegistry();
const program = 'program' in found ? found.program : '';
const missing = 'missing' in found ? found.missing : '';
const credentials = { username: 'fededge', password: 'open sesame' };
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

let test: TestApp;
let catalog: ReturnType<typeof createTestCatalog>;
let folder: string;
let model: string;
let count = 0;
beforeAll(async () => {
  test = await createTestApp();
  folder = mkdtempSync(join(tmpdir(), 'fededge-imports-'));
});
afterAll(async () => {
  await test?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  count += 1;
  model = `m${count}`;
  catalog = createTestCatalog(test);
  await createTestModel(test, await test.operator(), model, [smallWeights(0)]);
});

/** Asks for the weights by a source, imports, and tells what the release has come to. */
async function release(source: object, { config = {}, file = smallWeights(count) }: Options = {}) {
  catalog.set(`models/${model}.yaml`, { model, source, digest: `sha-256:${sha256(file)}` });
  await catalog.reconcile();
  const deps = { ...test.deps, config: { ...test.deps.config, ...config } };
  const imported = await importSources(deps, systemPrincipal);
  await catalog.reconcile();
  const { state, version, reason, digest } = (await catalog.releases(model)).at(-1)!;
  return { imported, state, version, reason, digest };
}

interface Options {
  config?: Partial<Config>;
  file?: Buffer;
}

const done = (file = smallWeights(count)) => ({
  imported: 1,
  state: 'complete',
  version: 2,
  reason: null,
  digest: sha256(file),
});
const refused = (reason: string) => ({
  imported: 0,
  state: 'waiting',
  version: null,
  reason: expect.stringContaining(reason),
});

it('a file of credentials that does not hold is not quoted in a reason', async () => {
  const authFile = join(folder, 'broken.json');
  writeFileSync(authFile, 'hunter2');
  const oci = `127.0.0.1:9/m@sha256:${'ab'.repeat(32)}`;
  const { reason } = await release({ oci }, { config: { registries: { authFile, plainHttp: [] } } });
  expect(reason).toContain('is no JSON');
  expect(reason).not.toContain('hunter2');
});

describe('from a URL', () => {
  let server: Server;
  let answer: (file: Buffer) => { status?: number; isChunked?: boolean; location?: string; body: Buffer };
  beforeAll(async () => {
    server = createServer((_request, response) => {
      const { status = 200, isChunked = false, location, body } = answer(smallWeights(count));
      const headers = { 'content-length': body.length, ...(location && { location }) };
      response.writeHead(status, isChunked ? {} : headers);
      response.write(body);
      response.end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  beforeEach(() => {
    answer = (body) => ({ body });
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;

  it('a version is imported as the next one, and not again', async () => {
    expect(await release({ url: url() })).toEqual(done());
    expect(await release({ url: `${url()}?again` })).toEqual({ ...done(), imported: 0 });
  });

  it('one that is there already is used as it is', async () => {
    const file = smallWeights(0);
    expect(await release({ url: 'http://127.0.0.1:9/' }, { file })).toMatchObject({
      imported: 0,
      state: 'complete',
      version: 1,
    });
  });

  it.each([
    ['other bytes', () => ({ body: smallWeights(99) }), 'import_failed: digest_mismatch'],
    ['no success', () => ({ status: 403, body: Buffer.from('no') }), 'answered 403'],
    [
      'a way to a machine’s credentials',
      () => ({ status: 302, location: 'http://169.254.169.254/latest/meta-data/', body: Buffer.from('-') }),
      '169.254.169.254 is a link-local address',
    ],
    [
      'a way to another protocol',
      () => ({ status: 307, location: 'file:///etc/passwd', body: Buffer.from('-') }),
      'redirects to where it may not',
    ],
    ['a way in a circle', () => ({ status: 302, location: '/', body: Buffer.from('-') }), 'too often'],
    ['no length', () => ({ isChunked: true, body: smallWeights(1) }), 'does not tell its length'],
  ])('that gives %s leaves the release waiting, and is tried again', async (_name, wrong, reason) => {
    answer = wrong;
    const { digest: _, ...first } = await release({ url: url() });
    expect(first).toEqual(refused(reason));
    const { digest: __, ...again } = await release({ url: url() });
    expect(again).toEqual(first);
    answer = (body) => ({ body });
    expect(await release({ url: url() })).toEqual(done());
  });

  it('that sends somewhere else is followed', async () => {
    const ways = ['/a', '/b'];
    answer = (body) => {
      const location = ways.shift();
      return location ? { status: 302, location, body: Buffer.from('-') } : { body };
    };
    expect(await release({ url: url() })).toEqual(done());
  });

  it.each(['http://[fe80::1]/m', 'http://[::ffff:169.254.169.254]/m', 'http://2852039166/m'])(
    'that is the link-local %s is not asked',
    async (place) => {
      expect(await release({ url: place })).toMatchObject(refused('is a link-local address'));
    },
  );

  it('that cannot be reached leaves the release waiting', async () => {
    expect(await release({ url: 'http://127.0.0.1:9/' })).toMatchObject(refused('import_failed: '));
  });

  it('waits for the end of a run of the model', async () => {
    const request = { model, name: 'run', settings: defaultSettings };
    const run = await createRun(test.deps, systemPrincipal, request);
    expect(await release({ url: url() })).toMatchObject(refused('import_failed: model_busy'));
    await stopRun(test.deps, systemPrincipal, run.id);
    expect(await release({ url: url() })).toEqual(done());
  });

  it('is imported by one process at a time', async () => {
    const { deps } = await test.replica();
    catalog.set(`models/${model}.yaml`, {
      model,
      source: { url: url() },
      digest: `sha-256:${sha256(smallWeights(count))}`,
    });
    await catalog.reconcile();
    const meanwhile = await whileAlone(deps.db, catalogLocks.import, () =>
      importSources(test.deps, systemPrincipal),
    );
    expect(meanwhile).toBe(0);
    expect(await importSources(test.deps, systemPrincipal)).toBe(1);
  });
});

describe('from S3', () => {
  it('a version is imported with the credentials of the blob store', async () => {
    const fake = await startFakeS3({ bucket: 'models' });
    try {
      const bytes = smallWeights(count);
      fake.objects.set('mnist/7.safetensors', { bytes, modifiedAt: new Date(), metadata: {} });
      const s3 = {
        url: `${fake.endpoint}/blobs`,
        region: 'us-east-1',
        accessKeyId: 'test-key',
        secretAccessKey: 'test-secret',
        timeoutMs: 20_000,
      };
      expect(await release({ s3: 's3://models/none' }, { config: { s3 } })).toMatchObject(refused('404'));
      expect(await release({ s3: 's3://models/mnist/7.safetensors' }, { config: { s3 } })).toEqual(done());
    } finally {
      await fake.close();
    }
  });

  it('needs S3 to be configured', async () => {
    expect(await release({ s3: 's3://models/mnist' })).toMatchObject(refused('FEDEDGE_S3_URL'));
  });
});

describe('from a registry', () => {
  let registry: DockerRegistry;
  let tokens: TokenService;
  beforeEach(async ({ skip }) => {
    skip(program === '', missing);
    tokens = await startTokenService(folder, credentials);
    const { realm, certificate } = tokens;
    const settings = { realm, service: 'registry', issuer: 'tokens', rootcertbundle: certificate };
    registry = await startDockerRegistry(program, { kind: 'token', ...settings });
  });
  afterEach(async () => {
    await registry?.close();
    await tokens?.close();
  });

  async function push(bytes: Buffer): Promise<string> {
    const path = join(folder, 'weights.safetensors');
    writeFileSync(path, bytes);
    const place = parseReference(`oci://${registry.host}/models/${model}`)!;
    return (await pushWeights(place, path, { model, version: 7 }, { credentials })).reference;
  }

  function withAuth(password: string): Partial<Config> {
    const authFile = join(folder, 'config.json');
    const auth = Buffer.from(`${credentials.username}:${password}`).toString('base64');
    writeFileSync(authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    return { registries: { authFile, plainHttp: [] } };
  }

  it('an artifact is imported by digest, with a token for its credentials', async () => {
    const oci = await push(smallWeights(count));
    expect(await release({ oci }, { config: withAuth('wrong') })).toMatchObject(refused('gave no token'));
    expect(await release({ oci }, { config: withAuth(credentials.password) })).toEqual(done());
    expect(tokens.scopes.at(-1)).toBe(`repository:models/${model}:pull`);
  });

  it('an artifact that holds another file is not read', async () => {
    const oci = await push(smallWeights(98));
    const config = withAuth(credentials.password);
    expect(await release({ oci }, { config })).toMatchObject(refused('the artifact holds'));
    const nothing = `${registry.host}/models/${model}@sha256:${'0'.repeat(64)}`;
    expect(await release({ oci: nothing }, { config })).toMatchObject(refused('answered 404'));
  });
});
