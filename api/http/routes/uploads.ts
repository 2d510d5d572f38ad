import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { uploadPath } from '../../services/models/paths.ts';
import type { Receipt } from '../../services/rounds/admissions.ts';
import {
  appendToUpload,
  beginUpload,
  cancelUpload,
  completeUpload,
  requireUpload,
} from '../../services/rounds/uploads.ts';
import type { UploadRow } from '../../store/rounds/uploads.ts';
import type { AppEnv } from '../context.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';
import { asDevice } from '../principals.ts';
import { assignmentParams, receipt } from '../schemas/assignments.ts';
import {
  appendHeaders,
  beginHeaders,
  partBody,
  receiptOrUpload,
  uploadParams,
  uploadStateHeaders,
} from '../schemas/uploads.ts';
import { tensorBody } from '../schemas/versions.ts';
import { bodyReader, declaredLength } from '../wire/body.ts';
import { readDigest } from '../wire/digests.ts';

const tag = 'Uploads';
/** Of draft-ietf-httpbis-resumable-upload-12. */
const INTEROP_VERSION = '8';
const updateProblems = ['late', 'full', 'not_in_cohort', 'update_conflict', 'malformed'] as const;
const bodyProblems = ['invalid_digest', 'digest_mismatch', 'body_incomplete', 'upload_length'] as const;

const beginUploadOperation = defineOperation({
  method: 'post',
  path: '/v1/assignments/{assignment}/update',
  operationId: 'beginUpdateUpload',
  tag,
  summary: 'Begin the resumable upload of an update',
  description:
    'For connections that do not last (draft-ietf-httpbis-resumable-upload-12, interop version 8). The update is ' +
    'admitted as by PUT. The body may be empty, the beginning, or the whole of the file; `Location` names the upload, ' +
    'also in an interim 104 where the request has `Upload-Draft-Interop-Version: 8`. Another beginning for the same ' +
    'assignment takes the place of the first.',
  policy: 'device',
  request: { params: assignmentParams, headers: beginHeaders, body: { ...tensorBody, required: false } },
  responses: {
    201: json(receiptOrUpload, 'The upload, or the receipt if this body was the whole.'),
    200: json(receipt, 'The update had been accepted before: the first receipt.'),
  },
  problems: [...updateProblems, ...bodyProblems, 'upload_offset'],
});

const inspectUploadOperation = defineOperation({
  method: 'head',
  path: '/v1/uploads/{upload}',
  operationId: 'inspectUpload',
  tag,
  summary: 'Ask how far an upload is',
  policy: 'device',
  request: { params: uploadParams },
  responses: { 204: { description: 'Where it stands.', headers: uploadStateHeaders } },
});

const appendUploadOperation = defineOperation({
  method: 'patch',
  path: '/v1/uploads/{upload}',
  operationId: 'appendToUpload',
  tag,
  summary: 'Append to an upload',
  description:
    'On any replica. What came of a body that was cut stays. Of several bodies for one offset one is taken, the others ' +
    'get 409 with the offset. The last one (`Upload-Complete: ?1`, it may be empty) is answered as PUT of the whole ' +
    'would be; a repeat gets the first receipt. After a 4xx with `Upload-Complete: ?1` the upload is gone.',
  policy: 'device',
  request: { params: uploadParams, headers: appendHeaders, body: partBody },
  responses: {
    201: json(receipt, 'The update is accepted.'),
    200: json(receipt, 'It had been accepted before: the first receipt.'),
    204: { description: 'Appended.', headers: uploadStateHeaders },
  },
  problems: [...updateProblems, ...bodyProblems, 'upload_offset', 'upload_complete', 'conflict'],
});

const cancelUploadOperation = defineOperation({
  method: 'delete',
  path: '/v1/uploads/{upload}',
  operationId: 'cancelUpload',
  tag,
  summary: 'Give an upload up',
  policy: 'device',
  request: { params: uploadParams },
  responses: { 204: { description: 'It is gone.' } },
});

export function uploadsRoutes(deps: Deps): OpenAPIHono<AppEnv> {
  const { maxUpdateBytes: maxBytes } = deps.config;
  const stateOf = (upload: UploadRow) => stateHeaders(upload, maxBytes, deps.clock.now());
  const routes = createRouter();
  routes.use('/v1/uploads/*', tellOffset);

  routes.openapi(beginUploadOperation, async (c) => {
    const device = asDevice(c.get('principal'));
    const { whole, append } = readBeginning(c, maxBytes, c.req.valid('header'));
    const begun = await beginUpload(deps, device, c.req.valid('param').assignment, whole);
    if ('receipt' in begun) return c.json(begun.receipt, 200, { 'upload-complete': '?1' });
    const location = uploadPath(begun.upload.id);
    announce(c, { location, 'upload-limit': stateOf(begun.upload)['upload-limit'] });
    const upload =
      append.bytes > 0 || append.completes
        ? await appendToUpload(deps, device, begun.upload.id, append)
        : begun.upload;
    if (upload.complete) return answerReceipt(c, () => completeUpload(deps, device, upload));
    const { id, offset, bytes, expiresAt } = upload;
    const document = { id, url: location, offset, bytes, expiresAt: expiresAt.toISOString() };
    return c.json(document, 201, { ...stateOf(upload), location });
  });

  // Hono answers HEAD by the routes of GET, so the operation is wired to both; the document names HEAD alone.
  routes.openapi(inspectUploadOperation, (c) => c.body(null, 204));
  routes.openapi({ ...inspectUploadOperation, method: 'get', hide: true }, async (c) => {
    const upload = await requireUpload(deps, asDevice(c.get('principal')), c.req.valid('param').upload);
    return c.body(null, 204, { ...stateOf(upload), 'cache-control': 'no-store' });
  });

  routes.openapi(appendUploadOperation, async (c) => {
    const device = asDevice(c.get('principal'));
    const append = readAppend(c, maxBytes, c.req.valid('header'));
    const upload = await appendToUpload(deps, device, c.req.valid('param').upload, append);
    if (upload.complete) return answerReceipt(c, () => completeUpload(deps, device, upload));
    return c.body(null, 204, stateOf(upload));
  });

  routes.openapi(cancelUploadOperation, async (c) => {
    await cancelUpload(deps, asDevice(c.get('principal')), c.req.valid('param').upload);
    return c.body(null, 204);
  });
  return routes;
}

/** A refused append says where the upload stands, in the header that clients read. */
const tellOffset = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  const { error } = c;
  if (error instanceof FedEdgeError && error.code === 'upload_offset') {
    c.header('upload-offset', String(error.details['expected-offset']));
  }
});

async function answerReceipt(c: Context<AppEnv>, complete: () => Promise<Receipt>) {
  // On refusals too: it says that the answer is about the whole, not about this body.
  c.header('upload-complete', '?1');
  const answer = await complete();
  return c.json(answer, answer.status === 'accepted' ? 201 : 200);
}

interface UploadHeaders {
  'Upload-Complete': '?0' | '?1';
  'Upload-Length'?: string | undefined;
  'Content-Digest'?: string | undefined;
}

function readBeginning(
  c: Context<AppEnv>,
  maxBytes: number,
  headers: UploadHeaders & { 'Repr-Digest'?: string | undefined },
) {
  const bytes = declaredLength(c, { mediaType: 'application/octet-stream', maxBytes });
  const completes = headers['Upload-Complete'] === '?1';
  const totalBytes = headers['Upload-Length'] === undefined ? undefined : Number(headers['Upload-Length']);
  const wholeBytes = totalBytes ?? (completes ? bytes : undefined);
  if (wholeBytes === undefined) {
    throw new FedEdgeError('invalid_request', { errors: [{ path: 'Upload-Length', message: 'Required' }] });
  }
  const contentDigest = readDigest(headers['Content-Digest']);
  const digest = readDigest(headers['Repr-Digest']) ?? (completes ? contentDigest : undefined);
  if (digest === undefined) throw new FedEdgeError('invalid_digest', { field: 'Repr-Digest' });
  const body = bodyReader(c, bytes);
  const append = { start: 0, bytes, digest: contentDigest, completes, totalBytes, body };
  return { whole: { bytes: wholeBytes, digest }, append };
}

function readAppend(
  c: Context<AppEnv>,
  maxBytes: number,
  headers: UploadHeaders & { 'Upload-Offset': string },
) {
  const bytes = declaredLength(c, { mediaType: 'application/partial-upload', maxBytes });
  const length = headers['Upload-Length'];
  return {
    start: Number(headers['Upload-Offset']),
    bytes,
    digest: readDigest(headers['Content-Digest']),
    completes: headers['Upload-Complete'] === '?1',
    totalBytes: length === undefined ? undefined : Number(length),
    body: bodyReader(c, bytes),
  };
}

function stateHeaders({ offset, bytes, complete, expiresAt }: UploadRow, maxBytes: number, now: Date) {
  const maxAge = Math.max(0, Math.floor((expiresAt.getTime() - now.getTime()) / 1000));
  return {
    'upload-offset': String(offset),
    'upload-length': String(bytes),
    'upload-complete': complete ? '?1' : '?0',
    'upload-limit': `max-size=${maxBytes}, max-age=${maxAge}`,
  };
}

/** Interim answers are for those who asked: some clients take an unknown 1xx for the answer. */
function announce(c: Context<AppEnv>, headers: { location: string; 'upload-limit': string }): void {
  if (c.req.header('upload-draft-interop-version') !== INTEROP_VERSION) return;
  // Node 24.18 and later; the interim answer is a courtesy.
  c.env?.outgoing?.writeInformation?.(104, { ...headers, 'upload-draft-interop-version': INTEROP_VERSION });
}
