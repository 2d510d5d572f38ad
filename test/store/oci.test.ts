import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseArtifactReference, registryUrl } from '../../api/store/oci/references.ts';
import { RegistryError } from '../../api/store/oci/registry-access.ts';
import { findWeights } from '../../api/store/oci/weights-artifacts.ts';

const hex = 'fe'.repeat(32);

describe('a reference', () => {
  it.each([
    ['registry.example/models/mnist', 'registry.example', 'models/mnist'],
    ['oci://registry.example:5000/m', 'registry.example:5000', 'm'],
    ['localhost:5000/a/b_c/d-e:7', 'localhost:5000', 'a/b_c/d-e'],
    ['[::1]:5000/m', '[::1]:5000', 'm'],
  ])('%s@... is read', (text, registry, repository) => {
    const digest = `sha256:${hex}`;
    expect(parseArtifactReference(`${text}@${digest}`)).toEqual({ registry, repository, digest });
  });

  it.each([
    `registry.example/m:7`,
    `registry.example/m@sha256:${hex.slice(2)}`,
    `registry.example/m@sha512:${hex}`,
    `registry.example/../m@sha256:${hex}`,
    `registry.example/M@sha256:${hex}`,
    `registry.example/m?x@sha256:${hex}`,
    `user@registry.example/m@sha256:${hex}`,
    `/m@sha256:${hex}`,
    `@sha256:${hex}`,
  ])('%s is none', (text) => {
    expect(parseArtifactReference(text)).toBeUndefined();
  });

  it('is asked by HTTP on this machine and where it is allowed', () => {
    expect(registryUrl('127.0.0.1:5000', [])).toBe('http://127.0.0.1:5000/v2/');
    expect(registryUrl('localhost', [])).toBe('http://localhost/v2/');
    expect(registryUrl('localhost.example', [])).toBe('https://localhost.example/v2/');
    expect(registryUrl('registry:5000', ['registry:5000'])).toBe('http://registry:5000/v2/');
  });
});

describe('an artifact', () => {
  let server: Server;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  beforeAll(async () => {
    server = createServer((request, response) => answer(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const layer = {
    mediaType: 'application/vnd.fededge.weights.v1+safetensors',
    digest: `sha256:${hex}`,
    size: 12,
  };
  const config = { mediaType: 'application/vnd.fededge.model.v1+json', digest: `sha256:${hex}`, size: 2 };

  /** The weights of a manifest with this text, named by its own digest or another one. */
  function find(text: string, named?: string) {
    answer = (_request, response) => void response.end(text);
    return ask(named ?? createHash('sha256').update(text).digest('hex'));
  }
  function ask(digest: string, credentials?: string) {
    const root = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`;
    const access = { root, credentials, signal: AbortSignal.timeout(10_000) };
    return findWeights(access, { registry: '', repository: 'm', digest: `sha256:${digest}` });
  }

  it('has one layer of weights', async () => {
    const manifest = JSON.stringify({ schemaVersion: 2, config, layers: [layer] });
    expect(await find(manifest)).toEqual({ digest: hex, bytes: 12 });
    await expect(find(manifest, hex)).rejects.toThrow('the manifest is not');
  });

  it.each([
    ['an image', { config: { mediaType: 'application/vnd.oci.image.config.v1+json' }, layers: [layer] }],
    ['two layers', { config, layers: [layer, layer] }],
    ['no layer', { config, layers: [] }],
    ['a layer of another type', { config, layers: [{ ...layer, mediaType: 'text/plain' }] }],
    ['a layer without a size', { config, layers: [{ ...layer, size: undefined }] }],
    ['a layer with another digest', { config, layers: [{ ...layer, digest: 'md5:ab' }] }],
    ['a list', []],
    ['null', null],
  ])('is none with %s', async (_name, manifest) => {
    await expect(find(JSON.stringify(manifest))).rejects.toThrow(RegistryError);
  });

  it('is none that is no JSON, or longer than a manifest can be', async () => {
    await expect(find('{')).rejects.toThrow(RegistryError);
    await expect(find(' '.repeat((1 << 20) + 1))).rejects.toThrow('too long');
  });

  it('is asked for with a password where the registry wants one, and by it alone', async () => {
    const seen: (string | undefined)[] = [];
    answer = (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    };
    await expect(ask(hex)).rejects.toThrow('FEDEDGE_REGISTRY_AUTH');
    await expect(ask(hex, 'dTpw')).rejects.toMatchObject({ status: 401 });
    expect(seen).toEqual([undefined, undefined, 'Basic dTpw']);
  });
});
