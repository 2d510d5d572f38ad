import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What goes wrong with the next request that a test aims at. */
export type Fault =
  | { kind: 'status'; status: number }
  /** The connection closes before the request has any effect. */
  | { kind: 'refuse' }
  /** The request has its effect; its answer is lost. */
  | { kind: 'lose-answer' }
  /** The request is received and forgotten; the connection stays open. */
  | { kind: 'silent' }
  /** The request has its effect, and no answer ever comes; the connection stays open. */
  | { kind: 'silent-after-effect' }
  /** The answer's body breaks off after so many bytes. */
  | { kind: 'cut'; bytes: number }
  /** The answer's body stops after so many bytes and the connection stays open. */
  | { kind: 'stall'; bytes: number };

interface StoredObject {
  bytes: Buffer;
  modifiedAt: Date;
  metadata: Record<string, string>;
}

interface Upload {
  key: string;
  initiatedAt: Date;
  metadata: Record<string, string>;
  parts: Map<number, Buffer>;
}

interface Call {
  method: string;
  key: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

/** An S3 service in memory with one bucket: conditional writes, multipart, ranges, listing in pages of `pageSize`. */
export interface FakeS3 {
  endpoint: string;
  bucket: string;
  objects: Map<string, StoredObject>;
  uploads: Map<string, Upload>;
  /** Each request as `METHOD key?query`, in order. */
  calls: string[];
  /** Taken one for each request whose `METHOD key?query` matches. */
  faults: { match: RegExp; fault: Fault }[];
  close(): Promise<void>;
}

const minPartBytes = 5 << 20;

export async function startFakeS3(options: { bucket: string; pageSize?: number }): Promise<FakeS3> {
  const { bucket, pageSize = 3 } = options;
  const state = {
    bucket,
    objects: new Map(),
    uploads: new Map(),
    calls: [],
    faults: [],
    hosts: new Set(),
    pageSize,
  } as State;
  const server = createServer((request, response) => {
    handle(state, request, response).catch((error) => response.destroy(error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return Object.assign(state, {
    endpoint: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

type State = Omit<FakeS3, 'endpoint' | 'close'> & { pageSize: number };

async function handle(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const url = new URL(request.url ?? '/', 'http://fake');
  const host = String(request.headers['x-forwarded-host'] ?? request.headers.host);
  // `bucket.localhost` names the bucket by host, anything else by path.
  const hosted = /^([\w-]+)\.localhost\b/.exec(host)?.[1];
  const segments = decodeURIComponent(url.pathname.slice(1)).split('/');
  const [bucket, ...key] = hosted ? [hosted, ...segments] : segments;
  const { method = '', headers } = request;
  const call: Call = {
    method,
    key: key.join('/'),
    query: url.searchParams,
    headers,
    body: Buffer.concat(chunks),
  };
  const line = `${method} ${call.key}${url.search}`;
  state.calls.push(line);
  const index = state.faults.findIndex(({ match }) => match.test(line));
  const fault = index < 0 ? undefined : state.faults.splice(index, 1)[0]?.fault;
  if (fault?.kind === 'refuse') return void request.socket.destroy();
  if (fault?.kind === 'silent') return;
  if (fault?.kind === 'status') return send(response, method, problem(fault.status, 'InjectedFault'));
  const answer = bucket === state.bucket ? answerTo(state, call) : problem(404, 'NoSuchBucket');
  if (fault?.kind === 'lose-answer') return void request.socket.destroy();
  if (fault?.kind === 'silent-after-effect') return;
  if (fault) return sendPartly(response, answer, fault);
  send(response, method, answer);
}

function send(response: ServerResponse, method: string, { status, headers, body = '' }: Answer): void {
  response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...headers });
  response.end(method === 'HEAD' ? undefined : body);
}

function sendPartly(response: ServerResponse, { status, headers, body = '' }: Answer, fault: Fault): void {
  const bytes = 'bytes' in fault ? fault.bytes : 0;
  response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...headers });
  response.write(Buffer.from(body).subarray(0, bytes), () => {
    // Destroyed a little later, so that the bytes before the break arrive.
    if (fault.kind === 'cut') setTimeout(() => response.destroy(), 20);
  });
}

function answerTo(state: State, call: Call): Answer {
  const refusal = checkSignature(call);
  if (refusal) return refusal;
  if (call.key === '') return answerBucket(state, call);
  if (call.method === 'PUT' && !call.headers['content-length']) return problem(411, 'MissingContentLength');
  const uploadId = call.query.get('uploadId');
  if (call.query.has('uploads')) return beginUpload(state, call);
  if (uploadId !== null) return answerUpload(state, call, uploadId);
  if (call.method === 'PUT') return store(state, call, call.body, metadataOf(call));
  if (call.method === 'DELETE') {
    state.objects.delete(call.key);
    return { status: 204 };
  }
  return answerRead(state, call);
}

function checkSignature({ headers, body }: Call): Answer | undefined {
  const pattern =
    /^AWS4-HMAC-SHA256 Credential=test-key\/\d{8}\/[\w-]+\/s3\/aws4_request, SignedHeaders=([\w;-]+), Signature=[0-9a-f]{64}$/;
  const signed = pattern.exec(headers.authorization ?? '')?.[1]?.split(';') ?? [];
  const needed = [
    'host',
    'x-amz-content-sha256',
    'x-amz-date',
    ...(headers['if-none-match'] ? ['if-none-match'] : []),
  ];
  if (!needed.every((name) => signed.includes(name))) return problem(403, 'SignatureDoesNotMatch');
  const digest = createHash('sha256').update(body).digest('hex');
  return headers['x-amz-content-sha256'] === digest ? undefined : problem(400, 'XAmzContentSHA256Mismatch');
}

function answerBucket(state: State, { method, query }: Call): Answer {
  if (method !== 'GET') return problem(405, 'MethodNotAllowed');
  const prefix = query.get('prefix') ?? '';
  if (query.has('uploads')) return listUploads(state, prefix);
  if (query.get('list-type') !== '2') return problem(501, 'NotImplemented');
  const keys = [...state.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const start = Number(query.get('continuation-token') ?? 0);
  const pageSize = Math.min(state.pageSize, Number(query.get('max-keys') ?? 1000));
  const page = keys.slice(start, start + pageSize).map((key) => {
    const { bytes, modifiedAt } = state.objects.get(key) as StoredObject;
    return `<Contents><Key>${key}</Key><LastModified>${modifiedAt.toISOString()}</LastModified><Size>${bytes.length}</Size></Contents>`;
  });
  const next = start + pageSize;
  const more = next < keys.length ? `<NextContinuationToken>${next}</NextContinuationToken>` : '';
  return xml(`<ListBucketResult>${page.join('')}${more}</ListBucketResult>`);
}

function listUploads({ uploads }: State, prefix: string): Answer {
  const found = [...uploads].filter(([, { key }]) => key.startsWith(prefix));
  const entries = found.map(
    ([id, { key, initiatedAt }]) =>
      `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${initiatedAt.toISOString()}</Initiated></Upload>`,
  );
  return xml(
    `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>${entries.join('')}</ListMultipartUploadsResult>`,
  );
}

function beginUpload(state: State, call: Call): Answer {
  const id = randomUUID();
  const upload = { key: call.key, initiatedAt: new Date(), metadata: metadataOf(call), parts: new Map() };
  state.uploads.set(id, upload);
  return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
}

function answerUpload(state: State, call: Call, id: string): Answer {
  const upload = state.uploads.get(id);
  if (upload?.key !== call.key) return problem(404, 'NoSuchUpload');
  if (call.method === 'PUT') {
    upload.parts.set(Number(call.query.get('partNumber')), call.body);
    return { status: 200, headers: { etag: etagOf(call.body) } };
  }
  if (call.method === 'DELETE') {
    state.uploads.delete(id);
    return { status: 204 };
  }
  return completeUpload(state, call, id, upload);
}

function completeUpload(state: State, call: Call, id: string, upload: Upload): Answer {
  const pattern = /<Part><PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag><\/Part>/g;
  const listed = [...call.body.toString().matchAll(pattern)];
  const parts = listed.map(([, number, tag]) => {
    const part = upload.parts.get(Number(number));
    return part && etagOf(part) === tag ? part : undefined;
  });
  if (parts.length === 0 || parts.includes(undefined)) return problem(400, 'InvalidPart');
  const whole = parts as Buffer[];
  if (whole.slice(0, -1).some((part) => part.length < minPartBytes)) return problem(400, 'EntityTooSmall');
  const answer = store(state, call, Buffer.concat(whole), upload.metadata);
  if (answer.status !== 200) return answer;
  state.uploads.delete(id);
  return xml('<CompleteMultipartUploadResult></CompleteMultipartUploadResult>');
}

function store(state: State, call: Call, bytes: Buffer, metadata: Record<string, string>): Answer {
  if (call.headers['if-none-match'] === '*' && state.objects.has(call.key))
    return problem(412, 'PreconditionFailed');
  state.objects.set(call.key, { bytes, modifiedAt: new Date(), metadata });
  return { status: 200, headers: { etag: etagOf(bytes) } };
}

function answerRead({ objects }: State, { key, headers }: Call): Answer {
  const object = objects.get(key);
  if (!object) return problem(404, 'NoSuchKey');
  const { bytes, metadata } = object;
  const etag = etagOf(bytes);
  if (headers['if-match'] && headers['if-match'] !== etag) return problem(412, 'PreconditionFailed');
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
  if (first === undefined) return { status: 200, headers: { ...metadata, etag }, body: bytes };
  if (Number(first) >= bytes.length) return problem(416, 'InvalidRange');
  const end = Math.min(bytes.length, last ? Number(last) + 1 : bytes.length);
  const range = `bytes ${first}-${end - 1}/${bytes.length}`;
  return {
    status: 206,
    headers: { ...metadata, etag, 'content-range': range },
    body: bytes.subarray(Number(first), end),
  };
}

function metadataOf({ headers }: Call): Record<string, string> {
  const entries = Object.entries(headers).filter(([name]) => name.startsWith('x-amz-meta-'));
  return Object.fromEntries(entries) as Record<string, string>;
}

function etagOf(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`;
}

function problem(status: number, code: string): Answer {
  return { ...xml(`<Error><Code>${code}</Code><Message>${code}</Message></Error>`), status };
}

function xml(content: string): Answer {
  const headers = { 'content-type': 'application/xml' };
  return { status: 200, headers, body: `<?xml version="1.0" encoding="UTF-8"?>\n${content}` };
}
