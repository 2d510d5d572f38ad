import { createHash } from 'node:crypto';
import { createReadStream, openAsBlob } from 'node:fs';
import { Failure } from '../failure.ts';
import { type S3Access, signS3 } from './s3-signature.ts';

type Environment = Record<string, string | undefined>;

export interface Uploaded {
  /** SHA-256, hex. */
  digest: string;
  bytes: number;
}

/** What one PUT may carry. */
const MAX_BYTES = 5 * 2 ** 30;

/**
 * Puts a file at `s3://BUCKET/KEY`, with the credentials that the AWS tools read from the environment and the endpoint
 * of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (MinIO, Ceph ...), else that of the region.
 */
export async function uploadToS3(
  target: string,
  file: string,
  { env, signal, now }: { env: Environment; signal: AbortSignal; now: Date },
): Promise<Uploaded> {
  const [, bucket, key] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,62})\/(.+)$/.exec(target) ?? [];
  if (bucket === undefined || key === undefined)
    throw new Failure(`${target} is no place in S3`, 'As s3://bucket/key.');
  const body = await openAsBlob(file);
  if (body.size > MAX_BYTES)
    throw new Failure(`${file} is larger than 5 GiB`, 'Put it there by the tools of the store.');
  const access = readAccess(env);
  const url = locate(env, { region: access.region, bucket, key });
  const digest = await hashFile(file);
  const headers = signS3(access, { method: 'PUT', url, payload: digest, now });
  const response = await fetch(url, { method: 'PUT', headers, body, signal }).catch((error: Error) => {
    signal.throwIfAborted();
    throw new Failure(
      `${url.origin} was not reached: ${(error.cause as Error | undefined)?.message ?? error.message}`,
    );
  });
  const answer = await response.text();
  if (response.ok) return { digest, bytes: body.size };
  const [, code = `status ${response.status}`] = /<Code>([^<]+)<\/Code>/.exec(answer) ?? [];
  throw new Failure(`${target} was refused: ${code}`, 'Check bucket, credentials and AWS_ENDPOINT_URL_S3.');
}

function readAccess(env: Environment): S3Access {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
  if (!accessKeyId || !secretAccessKey) {
    throw new Failure('there are no credentials for S3', 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.');
  }
  const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1';
  return { accessKeyId, secretAccessKey, sessionToken: env.AWS_SESSION_TOKEN, region };
}

function locate(
  env: Environment,
  { region, bucket, key }: { region: string; bucket: string; key: string },
): URL {
  const own = env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
  const endpoint = own ?? `https://s3.${region}.amazonaws.com`;
  const path = [bucket, ...key.split('/')].map(encodeStrictly).join('/');
  return new URL(`${endpoint.replace(/\/+$/, '')}/${path}`);
}

/** As signatures want it (RFC 3986): what encodeURIComponent leaves, and they do not. */
function encodeStrictly(part: string): string {
  return encodeURIComponent(part).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
