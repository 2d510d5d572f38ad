import { createHash } from 'node:crypto';
import { type Credentials, createSend, type Send } from './authentication.ts';
import { type Reference, registryUrl } from './reference.ts';
import { RegistryError, refusal } from './registry-error.ts';

export interface RegistryOptions {
  /** Sent only when the registry asks for them. */
  credentials?: Credentials | undefined;
  /** HTTP instead of HTTPS. Unset: for this machine's own addresses alone. */
  plainHttp?: boolean | undefined;
  signal?: AbortSignal | undefined;
  fetch?: typeof fetch | undefined;
}

/** What a manifest says of one of its parts (OCI image specification, descriptor). */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

export interface Manifest {
  schemaVersion: 2;
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
}

/** One repository of a registry. Every call throws a `RegistryError` when the registry refuses or is not reached. */
export interface Repository {
  /** Uploads bytes unless they are there. */
  pushBlob(digest: string, body: Blob): Promise<void>;
  /** The answer whose body are the blob's bytes; they are not checked yet. */
  openBlob(digest: string): Promise<Response>;
  /** Stores a manifest under a tag or its digest; resolves with the digest. */
  pushManifest(manifest: Manifest, tag?: string): Promise<string>;
  /** By digest or tag. What a digest names is checked against it. */
  getManifest(reference: string): Promise<{ manifest: Manifest; digest: string }>;
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const MAX_MANIFEST_BYTES = 4 << 20;

export function openRepository(
  { registry, repository }: Reference,
  options: RegistryOptions = {},
): Repository {
  const { credentials, plainHttp, signal, fetch = globalThis.fetch } = options;
  const root = registryUrl(registry, plainHttp);
  const send = createSend({ root, credentials, fetch, signal });
  const base = `${root}${repository}/`;
  return {
    pushBlob: (digest, body) => pushBlob(send, base, digest, body),
    async openBlob(digest) {
      const response = await send(`${base}blobs/${digest}`);
      if (!response.ok) throw await refusal(`blob ${digest}`, response);
      return response;
    },
    pushManifest: (manifest, tag) => pushManifest(send, base, manifest, tag),
    getManifest: (reference) => getManifest(send, base, reference),
  };
}

/** In one piece: where the registry says, which may be a store of its own. */
async function pushBlob(send: Send, base: string, digest: string, body: Blob): Promise<void> {
  const known = await send(`${base}blobs/${digest}`, { method: 'HEAD' });
  if (known.ok) return;
  if (known.status !== 404) throw await refusal(`blob ${digest}`, known);
  const begun = await send(`${base}blobs/uploads/`, { method: 'POST' });
  const location = begun.headers.get('location');
  if (begun.status !== 202 || location === null) throw await refusal('the upload', begun);
  await begun.body?.cancel();
  const target = new URL(location, base);
  target.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  const stored = await send(target, { method: 'PUT', headers, body });
  if (stored.status !== 201) throw await refusal(`the upload of ${digest}`, stored);
  await stored.body?.cancel();
}

async function pushManifest(send: Send, base: string, manifest: Manifest, tag?: string): Promise<string> {
  const body = JSON.stringify(manifest);
  const digest = digestOf(body);
  const headers = { 'content-type': manifest.mediaType };
  const stored = await send(`${base}manifests/${tag ?? digest}`, { method: 'PUT', headers, body });
  if (stored.status !== 201) throw await refusal('the manifest', stored);
  await stored.body?.cancel();
  return digest;
}

async function getManifest(send: Send, base: string, reference: string) {
  const response = await send(`${base}manifests/${reference}`, { headers: { accept: MANIFEST_TYPE } });
  if (!response.ok) throw await refusal(`manifest ${reference}`, response);
  if (Number(response.headers.get('content-length')) > MAX_MANIFEST_BYTES) {
    await response.body?.cancel();
    throw new RegistryError(`manifest ${reference} is too long`, response.status);
  }
  const text = await response.text();
  const digest = digestOf(text);
  if (reference.startsWith('sha256:') && digest !== reference) {
    throw new RegistryError(
      `the registry's manifest is not the one that ${reference} names`,
      response.status,
    );
  }
  return { manifest: parseManifest(text, reference), digest };
}

function parseManifest(text: string, reference: string): Manifest {
  try {
    const manifest = JSON.parse(text) as Manifest;
    if (manifest.schemaVersion === 2 && Array.isArray(manifest.layers) && manifest.config) return manifest;
  } catch {
    // Said below.
  }
  throw new RegistryError(`${reference} is no image manifest`, 200);
}

export function digestOf(bytes: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
