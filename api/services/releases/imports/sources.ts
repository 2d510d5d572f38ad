import { readFile } from 'node:fs/promises';
import type { Deps } from '../../../deps.ts';
import type { ReleaseSource } from '../../../domain/release.ts';
import { createS3Sender, s3Error } from '../../../store/blobs/s3/s3-requests.ts';
import { getOutward } from '../../../store/oci/outward-requests.ts';
import { parseArtifactReference, registryUrl } from '../../../store/oci/references.ts';
import { findWeights, openWeights } from '../../../store/oci/weights-artifacts.ts';

/** A file that is there to be imported, its bytes not read yet. */
export interface ImportedFile {
  bytes: number;
  body(): AsyncIterable<Uint8Array>;
  /** Gives up what was not read. */
  discard(): Promise<void>;
}

const IMPORT_MS = 3_600_000;

interface Access {
  config: Deps['config'];
  signal: AbortSignal;
}

/** A source that does not hold what the release names, or cannot be asked. */
class SourceError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SourceError';
  }
}

/** Opens the file of a release's source. `digest` is what it has to be: SHA-256, hex. Throws what kept it from it. */
export function openSource(
  { config, stopping }: Pick<Deps, 'config' | 'stopping'>,
  { oci, s3, url }: ReleaseSource,
  digest: string,
): Promise<ImportedFile> {
  // One that drips would keep all other imports waiting.
  const access = { config, signal: AbortSignal.any([stopping, AbortSignal.timeout(IMPORT_MS)]) };
  if (oci !== undefined) return openArtifact(access, oci, digest);
  return s3 !== undefined ? openObject(access, s3) : openUrl(access, url!);
}

async function openArtifact({ config, signal }: Access, text: string, digest: string) {
  const reference = parseArtifactReference(text);
  if (!reference) throw new SourceError(`${text} names no artifact`);
  const { registry } = reference;
  const { authFile, plainHttp } = config.registries;
  const credentials = authFile === undefined ? undefined : await readCredentials(authFile, registry);
  const access = { root: registryUrl(registry, plainHttp), credentials, signal };
  const layer = await findWeights(access, reference);
  if (layer.digest !== digest) throw new SourceError(`the artifact holds ${layer.digest}`);
  const answer = await openWeights(access, reference, layer);
  return fileOf(answer, layer.bytes);
}

/** Docker's configuration: `{"auths": {"REGISTRY": {"auth": "BASE64"}}}`. Read anew each time: secrets rotate. */
async function readCredentials(file: string, registry: string): Promise<string | undefined> {
  const auths = parseAuths(await readFile(file, 'utf8'), file);
  const entry = auths[registry] ?? auths[`https://${registry}`];
  if (entry?.auth !== undefined) return entry.auth;
  if (entry?.username === undefined) return undefined;
  return Buffer.from(`${entry.username}:${entry.password ?? ''}`).toString('base64');
}

type Auths = Record<string, { auth?: string; username?: string; password?: string } | undefined>;

function parseAuths(text: string, file: string): Auths {
  try {
    return (JSON.parse(text) as { auths?: Auths }).auths ?? {};
  } catch {
    // What a parser says quotes the secret, and the reason of a release is for every viewer.
    throw new SourceError(`${file} is no JSON: see FEDEDGE_REGISTRY_AUTH`);
  }
}

/** With the blob store's credentials, from its service. */
async function openObject({ config: { s3 }, signal }: Access, text: string): Promise<ImportedFile> {
  if (!s3) throw new SourceError('S3 is not configured: see FEDEDGE_S3_URL');
  const [bucket = '', ...path] = text.slice('s3://'.length).split('/');
  const { url, ...credentials } = s3;
  const { origin } = new URL(url);
  const send = createS3Sender({ ...credentials, endpoint: origin, bucket, pathStyle: true, attempts: 3 });
  const request = { method: 'GET', key: path.join('/'), signal } as const;
  const answer = await send(request);
  if (!answer.ok) throw await s3Error(request, answer);
  return fileOf(answer, lengthOf(answer, text));
}

async function openUrl({ signal }: Access, url: string): Promise<ImportedFile> {
  const answer = await getOutward(url, { headers: { 'accept-encoding': 'identity' }, signal });
  if (answer.ok) return fileOf(answer, lengthOf(answer, url));
  await answer.body?.cancel();
  throw new SourceError(`${url} answered ${answer.status}`);
}

function lengthOf(answer: Response, place: string): number {
  const bytes = Number(answer.headers.get('content-length') ?? Number.NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new SourceError(`${place} does not tell its length`);
}

function fileOf({ body }: Response, bytes: number): ImportedFile {
  return {
    bytes,
    body: async function* () {
      yield* body ?? [];
    },
    // What was read to its end, or broke off, is given up already.
    discard: async () => body?.cancel().catch(() => undefined),
  };
}
