import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  CONFIG_TYPE,
  parseReference,
  pullWeights,
  pushWeights,
  type RegistryOptions,
  WEIGHTS_TYPE,
} from '../../../clients/oci/index.ts';
import { tensorFile } from '../../support/tensor-files.ts';
import { type DockerRegistry, findDockerRegistry, startDockerRegistry } from './support/docker-registry.ts';
import { startTokenService, type TokenService } from './support/token-service.ts';

const found = findDockerRegistry();
const program = 'program' in found ? found.program : '';
const missing = 'missing' in found ? found.missing : '';
const credentials = { username: 'fededge', password: 'open sesame' };
/** By `htpasswd -nbB fededge 'open sesame'`. */
const HTPASSWD = 'fededge:$2a$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n';
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

const weights = tensorFile([
  { name: 'w', shape: [50_000], values: Array.from({ length: 50_000 }, (_, i) => i / 7) },
]);
let folder: string;
let registry: DockerRegistry;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fededge-oci-'));
  writeFileSync(join(folder, 'weights.safetensors'), weights);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(({ skip }) => skip(program === '', missing));
afterEach(() => registry?.close());

const at = (text: string) => parseReference(`oci://${registry.host}/${text}`)!;
const push = (place = 'models/mnist', options: RegistryOptions = {}) =>
  pushWeights(at(place), join(folder, 'weights.safetensors'), { model: 'mnist', version: 7 }, options);

describe('a registry that lets everybody in', () => {
  beforeEach(async () => {
    registry = await startDockerRegistry(program, { kind: 'none' });
  });

  it('takes weights as an artifact, and gives back the same bytes by digest', async () => {
    const pushed = await push();
    expect(pushed.weightsDigest).toBe(sha256(weights));
    expect(pushed.reference).toBe(`${registry.host}/models/mnist@${pushed.digest}`);
    const target = join(folder, 'pulled.safetensors');
    expect(await pullWeights(parseReference(pushed.reference)!, target)).toEqual(pushed);
    expect(readFileSync(target).equals(weights)).toBe(true);
  });

  it('holds what it is in its media types', async () => {
    const { digest } = await push();
    const answer = await fetch(`http://${registry.host}/v2/models/mnist/manifests/${digest}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    const manifest = (await answer.json()) as { config: { digest: string } };
    expect(manifest).toMatchObject({
      config: { mediaType: CONFIG_TYPE },
      layers: [{ mediaType: WEIGHTS_TYPE, digest: `sha256:${sha256(weights)}`, size: weights.length }],
    });
    const config = await fetch(`http://${registry.host}/v2/models/mnist/blobs/${manifest.config.digest}`);
    expect(await config.json()).toEqual({ model: 'mnist', version: 7 });
  });

  it('is asked once for what it has', async () => {
    const sent: string[] = [];
    const counting: typeof fetch = (input, init) => {
      if (init?.method === 'PUT') sent.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };
    const first = await push('models/mnist:7', { fetch: counting });
    expect(sent).toHaveLength(3);
    sent.length = 0;
    expect(await push('models/mnist:7', { fetch: counting })).toEqual(first);
    expect(sent).toEqual(['/v2/models/mnist/manifests/7']);
    expect(await pullWeights(at('models/mnist:7'), join(folder, 'tagged'))).toEqual(first);
  });

  it('gives nothing under a name that is not there, and leaves no file', async () => {
    const nothing = `models/mnist@sha256:${'0'.repeat(64)}`;
    const target = join(folder, 'absent');
    await expect(pullWeights(at(nothing), target)).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining('MANIFEST_UNKNOWN'),
    });
    expect(existsSync(target)).toBe(false);
  });

  it('is not believed: a byte that differs is an error, and no file', async () => {
    const { reference } = await push();
    const lying: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!String(input).includes('/blobs/')) return response;
      const bytes = new Uint8Array(await response.arrayBuffer());
      bytes[bytes.length - 1]! ^= 1;
      return new Response(bytes, response);
    };
    const target = join(folder, 'damaged');
    await expect(pullWeights(parseReference(reference)!, target, { fetch: lying })).rejects.toThrow(
      'is not the one',
    );
    expect(existsSync(target)).toBe(false);
  });
});

describe('a registry that asks for a password', () => {
  beforeEach(async () => {
    writeFileSync(join(folder, 'htpasswd'), HTPASSWD);
    registry = await startDockerRegistry(program, {
      kind: 'htpasswd',
      realm: 'fededge',
      path: join(folder, 'htpasswd'),
    });
  });

  it('gets it, and takes and gives', async () => {
    const pushed = await push('models/mnist', { credentials });
    await pullWeights(parseReference(pushed.reference)!, join(folder, 'with-password'), { credentials });
    expect(sha256(readFileSync(join(folder, 'with-password')))).toBe(pushed.weightsDigest);
  });

  it.each([
    ['none', undefined, 'wants a user name and a password'],
    ['a wrong one', { ...credentials, password: 'wrong' }, '401'],
  ])('refuses %s', async (_, given, message) => {
    await expect(push('models/mnist', { credentials: given })).rejects.toThrow(message);
  });
});

describe('a registry that asks for a token', () => {
  let tokens: TokenService;
  beforeEach(async () => {
    tokens = await startTokenService(folder, credentials);
    const { realm, certificate } = tokens;
    const settings = { realm, service: 'registry', issuer: 'tokens', rootcertbundle: certificate };
    registry = await startDockerRegistry(program, { kind: 'token', ...settings });
  });
  afterEach(() => tokens?.close());

  it('gets one for what is asked for', async () => {
    const pushed = await push('models/mnist', { credentials });
    await pullWeights(parseReference(pushed.reference)!, join(folder, 'with-token'), { credentials });
    expect(sha256(readFileSync(join(folder, 'with-token')))).toBe(pushed.weightsDigest);
    expect(tokens.scopes.at(-1)).toBe('repository:models/mnist:pull');
    expect(
      tokens.scopes.some((scope) => /^repository:models\/mnist:(pull,push|push,pull)$/.test(scope)),
    ).toBe(true);
  });

  it('refuses a password that its token service refuses', async () => {
    const wrong = { ...credentials, password: 'wrong' };
    await expect(push('models/mnist', { credentials: wrong })).rejects.toThrow(
      'no token from http://127.0.0.1',
    );
  });
});
