import { createHash } from 'node:crypto';
import type { ArtifactReference } from './references.ts';
import {
  getFromRegistry,
  parseObject,
  type RegistryAccess,
  RegistryError,
  readShort,
} from './registry-access.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
/** The artifact's config: what the model is. */
const CONFIG_TYPE = 'application/vnd.fededge.model.v1+json';
/** Its one layer: a safetensors file, as it is. */
const WEIGHTS_TYPE = 'application/vnd.fededge.weights.v1+safetensors';

/** A layer as the manifest describes it. */
export interface WeightsLayer {
  /** SHA-256, hex. */
  digest: string;
  bytes: number;
}

/** The weights of an artifact, from the manifest that the reference's digest names. Throws RegistryError. */
export async function findWeights(
  access: RegistryAccess,
  { repository, digest }: ArtifactReference,
): Promise<WeightsLayer> {
  const answer = await getFromRegistry(access, `${repository}/manifests/${digest}`, MANIFEST_TYPE);
  const bytes = await readShort(answer);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (digest !== `sha256:${found}`) throw new RegistryError(`the manifest is not ${digest}`, answer.status);
  const layer = readLayer(bytes);
  if (layer) return layer;
  throw new RegistryError(`${digest} is no artifact of a ${CONFIG_TYPE} with one ${WEIGHTS_TYPE}`, 200);
}

/** The bytes of a layer, unchecked: whoever takes them in holds them against the digest. Throws RegistryError. */
export async function openWeights(
  access: RegistryAccess,
  { repository }: ArtifactReference,
  { digest }: WeightsLayer,
): Promise<Response> {
  return getFromRegistry(access, `${repository}/blobs/sha256:${digest}`);
}

function readLayer(bytes: Uint8Array): WeightsLayer | undefined {
  const manifest = parseObject(bytes);
  const config = manifest?.config as { mediaType?: unknown } | undefined;
  const layers = Array.isArray(manifest?.layers) ? (manifest.layers as Record<string, unknown>[]) : [];
  const [layer] = layers;
  if (config?.mediaType !== CONFIG_TYPE || layers.length !== 1) return undefined;
  const digest = /^sha256:([0-9a-f]{64})$/.exec(String(layer?.digest))?.[1];
  const size = Number(layer?.size);
  const isSound = layer?.mediaType === WEIGHTS_TYPE && digest !== undefined && Number.isSafeInteger(size);
  return isSound ? { digest, bytes: size } : undefined;
}
