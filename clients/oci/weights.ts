import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { formatReference, type Reference } from './reference.ts';
import {
  type Descriptor,
  digestOf,
  MANIFEST_TYPE,
  type Manifest,
  openRepository,
  type RegistryOptions,
} from './registry.ts';
import { RegistryError } from './registry-error.ts';

export const CONFIG_TYPE = 'application/vnd.fededge.model.v1+json';
export const WEIGHTS_TYPE = 'application/vnd.fededge.weights.v1+safetensors';
const TITLE = 'org.opencontainers.image.title';

/** What the artifact says of its weights: its config. */
export interface ModelConfig {
  model: string;
  version?: number | undefined;
  [name: string]: unknown;
}

export interface Pushed {
  /** With the manifest's digest: what a release's `source.oci` names. */
  reference: string;
  /** Of the manifest, `sha256:...`. */
  digest: string;
  /** SHA-256 of the weights, hex: the digest of the model version. */
  weightsDigest: string;
  bytes: number;
}

/**
 * Pushes a file of weights as an artifact: a config that describes it and one layer, the file. The same file with the
 * same config is the same artifact, and what the registry has already is not sent again.
 */
export async function pushWeights(
  reference: Reference,
  file: string,
  config: ModelConfig,
  options: RegistryOptions = {},
): Promise<Pushed> {
  const repository = openRepository(reference, options);
  const weightsDigest = await hashFile(file);
  const weights = await openAsBlob(file);
  const configText = JSON.stringify(config);
  const layer: Descriptor = {
    mediaType: WEIGHTS_TYPE,
    digest: `sha256:${weightsDigest}`,
    size: weights.size,
    annotations: { [TITLE]: `${config.model}.safetensors` },
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: digestOf(configText), size: Buffer.byteLength(configText) },
    layers: [layer],
  };
  await repository.pushBlob(layer.digest, weights);
  await repository.pushBlob(manifest.config.digest, new Blob([configText]));
  const digest = await repository.pushManifest(manifest, reference.tag);
  const { registry, repository: name } = reference;
  const pinned = formatReference({ registry, repository: name, digest });
  return { reference: pinned, digest, weightsDigest, bytes: weights.size };
}

/**
 * Fetches the weights of an artifact into a file, which is there only when its bytes are those that the manifest names.
 * By digest it is this artifact or an error; by tag, whatever the tag names now.
 */
export async function pullWeights(
  reference: Reference,
  file: string,
  options: RegistryOptions = {},
): Promise<Pushed> {
  const repository = openRepository(reference, options);
  const { manifest, digest } = await repository.getManifest(reference.digest ?? reference.tag ?? 'latest');
  const layer = manifest.layers.find(({ mediaType }) => mediaType === WEIGHTS_TYPE);
  if (!layer)
    throw new RegistryError(`${formatReference(reference)} has no layer of type ${WEIGHTS_TYPE}`, 200);
  const response = await repository.openBlob(layer.digest);
  await writeChecked(response, layer, file);
  const { registry, repository: name } = reference;
  return {
    reference: formatReference({ registry, repository: name, digest }),
    digest,
    weightsDigest: layer.digest.slice('sha256:'.length),
    bytes: layer.size,
  };
}

/** Into a draft beside it, renamed when length and digest are right. */
async function writeChecked(response: Response, { digest, size }: Descriptor, file: string): Promise<void> {
  const draft = `${file}.${process.pid}.part`;
  const handle = await open(draft, 'w');
  try {
    const hash = createHash('sha256');
    let written = 0;
    for await (const chunk of Readable.fromWeb(response.body as never) as AsyncIterable<Uint8Array>) {
      written += chunk.length;
      if (written > size) break;
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
    if (written !== size || `sha256:${hash.digest('hex')}` !== digest) {
      throw new RegistryError(`the registry's blob is not the one that ${digest} names`, response.status);
    }
    await handle.close();
    await rename(draft, file);
  } finally {
    await handle.close().catch(() => undefined);
    await rm(draft, { force: true });
  }
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
