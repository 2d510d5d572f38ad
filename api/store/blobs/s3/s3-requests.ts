import { createHash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import { BlobUnavailableError } from '../blob-store.ts';
import { readWhole, sentBody } from './s3-bodies.ts';
import { createPatience, type Patience, type Watch } from './s3-patience.ts';

/** Where the bucket is and how to reach it. */
export interface S3Options {
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Base URL of the service; AWS' own of the region by default. */
  endpoint?: string;
  /** `endpoint/bucket/key` instead of `bucket.endpoint/key`; most services other than AWS need it. */
  pathStyle?: boolean;
  /** Put before every key, to share a bucket; ends with a slash. */
  prefix?: string;
  /** How long the service may be silent, the tries of a request together, before it counts as out. 20 s by default. */
  timeoutMs?: number;
  /** Tries of one request, the first included. */
  attempts?: number;
  /** The first retry waits a random part of this, each later one of twice as much, up to 5 s. */
  retryBaseMs?: number;
  /** Sends the requests instead of the global one (a proxy, a resolver of host names). */
  fetch?: (url: URL, init: RequestInit) => Promise<Response>;
}

export interface S3Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** The object's key with the prefix; the bucket itself without. */
  key?: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer> | string;
  /** For answers of any length: the body of a success is then not read yet, and the signal ends it. */
  signal?: AbortSignal;
}

/** `patience`: what several requests have together, one after the other. Each has its own unless it is given one. */
export type SendS3 = (request: S3Request, patience?: Patience) => Promise<Response>;

export const defaultTimeoutMs = 20_000;
const maxDelayMs = 5_000;

/**
 * Signs (SigV4, with the body's SHA-256, so that the service verifies what arrived) and sends. Network faults,
 * silence, 429 and 5xx are tried again with full jitter; in the end they throw BlobUnavailableError.
 */
export function createS3Sender(options: S3Options): SendS3 {
  const { attempts = 6, retryBaseMs = 100, timeoutMs = defaultTimeoutMs } = options;
  const cache = new Map<string, ArrayBuffer>();
  return async (request, patience = createPatience(timeoutMs)) => {
    let cause: unknown = new Error('it was silent before');
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      if (attempt > 1) await patience.pause(delayBefore(attempt, retryBaseMs));
      if (patience.isOver()) break;
      const watch = patience.watch();
      try {
        watch.expect();
        const response = await sendOnce(options, cache, request, watch);
        if (response.status < 500 && response.status !== 429) {
          // Of an answer of any length the body counts.
          if (!request.signal) patience.restore();
          return response;
        }
        cause = await s3Error(request, response);
      } catch (error) {
        cause = error;
      } finally {
        watch.rest();
      }
    }
    const what = `${request.method} ${request.key ?? options.bucket}`;
    throw new BlobUnavailableError(`${what}: ${(cause as Error).message}`, { cause });
  };
}

function delayBefore(attempt: number, baseMs: number): number {
  return Math.random() * Math.min(maxDelayMs, baseMs * 2 ** (attempt - 2));
}

async function sendOnce(
  options: S3Options,
  cache: Map<string, ArrayBuffer>,
  request: S3Request,
  watch: Watch,
): Promise<Response> {
  const { region, accessKeyId, secretAccessKey, sessionToken, fetch = globalThis.fetch } = options;
  const body = request.body ?? '';
  const signer = new AwsV4Signer({
    method: request.method,
    url: urlOf(options, request),
    headers: { ...request.headers, 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex') },
    service: 's3',
    region,
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
    cache,
  });
  const { url, headers, method } = await signer.sign();
  const signal = request.signal ? AbortSignal.any([request.signal, watch.signal]) : watch.signal;
  const sent = sentBody(request.body, watch.expect);
  // Of a stream nobody else tells it, and S3 takes nothing without.
  if (sent.duplex) headers.set('content-length', String(body.length));
  const response = await fetch(url, { method, headers, redirect: 'error', signal, ...sent });
  return request.signal && response.ok ? response : readWhole(response, watch.expect);
}

function urlOf({ endpoint, region, bucket, pathStyle }: S3Options, { key = '', query }: S3Request): string {
  const url = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`);
  const base = url.pathname.replace(/\/$/, '');
  if (pathStyle) url.pathname = `${base}/${bucket}/${key}`;
  else {
    url.hostname = `${bucket}.${url.hostname}`;
    url.pathname = `${base}/${key}`;
  }
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  return url.href;
}

/** The service's refusal as an outage that names its code (AccessDenied, NoSuchBucket, SlowDown, ...). */
export async function s3Error(request: S3Request, response: Response): Promise<BlobUnavailableError> {
  const text = await response.text().catch(() => '');
  const code = textOf(text, 'Code') ?? response.statusText;
  const message = textOf(text, 'Message') ?? '';
  return new BlobUnavailableError(
    `${request.method} ${request.key ?? ''} answered ${response.status} ${code} ${message}`.trim(),
  );
}

/** The content of the first element `name`. S3's answers are flat and machine-made: no parser is needed. */
export function textOf(xml: string, name: string): string | undefined {
  const content = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return content?.replace(/&(lt|gt|quot|apos|amp|#\d+|#x[\da-fA-F]+);/g, (_, entity: string) =>
    character(entity),
  );
}

/** The contents of all elements `name`, tags and all. */
export function elementsOf(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))].map((match) => match[1] ?? '');
}

function character(entity: string): string {
  const named: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  if (!entity.startsWith('#')) return named[entity] ?? '';
  return String.fromCodePoint(
    entity[1] === 'x' ? Number.parseInt(entity.slice(2), 16) : Number(entity.slice(1)),
  );
}
