import { createHash } from 'node:crypto';
import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import {
  createVersion,
  currentVersion,
  listVersions,
  requireDownload,
  requireVersion,
} from '../../services/models/versions.ts';
import type { AppEnv } from '../context.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, readPage, toPage } from '../contract/pagination.ts';
import {
  declaredHeaders,
  ModelVersion,
  modelName,
  tensorBody,
  toModelVersion,
  versionNumber,
} from '../schemas/versions.ts';
import { declaredBody } from '../wire/body.ts';
import { sendFile } from '../wire/downloads.ts';
import type { HotFiles } from '../wire/hot-files.ts';
import { matchesEtag } from '../wire/ranges.ts';

const tag = 'Models';
const params = z.object({ model: modelName });
const versionParams = z.object({ model: modelName, version: versionNumber });
const binary = { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } };
const ETAG = '"3f0a377ba0a4a460ecb616f6507ce0d8cfa3e704025d4fda3ed0c5ca05468728"';
const text = (description: string, example: string) =>
  z.string().max(1024).optional().openapi({ description, example });

const createVersionOperation = defineOperation({
  method: 'post',
  path: '/v1/models/{model}/versions',
  operationId: 'createModelVersion',
  tag,
  summary: 'Upload weights as the next version',
  description:
    'A safetensors file with the tensors of the manifest, all F32 and in the order of the manifest. It is kept byte for ' +
    'byte and becomes the head. The bytes of the current head change nothing and answer 200.',
  policy: 'operator',
  request: { params, headers: declaredHeaders, body: tensorBody },
  responses: {
    201: json(ModelVersion, 'The new version.'),
    200: json(ModelVersion, 'The current version has these bytes already.'),
  },
  problems: ['invalid_digest', 'digest_mismatch', 'body_incomplete', 'malformed', 'model_busy', 'conflict'],
});

const listVersionsOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}/versions',
  operationId: 'listModelVersions',
  tag,
  summary: 'List the versions of a model',
  policy: 'member',
  request: { params, query: orderedPageQuery },
  responses: { 200: json(pageOf(ModelVersion, 'ModelVersionPage'), 'The versions.') },
  problems: ['invalid_cursor'],
});

const getVersionOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}/versions/{version}',
  operationId: 'getModelVersion',
  tag,
  summary: 'Get a version',
  policy: 'member',
  request: { params: versionParams },
  responses: { 200: json(ModelVersion, 'The version.') },
});

const getWeightsOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}/versions/{version}/weights',
  operationId: 'downloadWeights',
  tag,
  summary: 'Download the weights of a version',
  description:
    'A safetensors file. It never changes: the ETag is its SHA-256, a cut download continues by `Range` with `If-Range`. ' +
    'HEAD is answered too. A device may fetch what its assignment or `current` names.',
  policy: 'member',
  request: {
    params: versionParams,
    query: z.object({
      variant: z.enum(['f32']).default('f32').openapi({ description: 'The form of the weights.' }),
    }),
    headers: z.object({
      Range: text('One range of bytes: `bytes=0-1023`, `bytes=1024-`, `bytes=-512`.', 'bytes=1024-'),
      'If-Range': text('The ETag; with another one the whole file comes.', ETAG),
      'If-None-Match': text('ETags that the caller has.', ETAG),
    }),
  },
  responses: {
    200: { description: 'The file.', content: binary },
    206: { description: 'The range.', content: binary },
    304: { description: 'The caller has the file.' },
  },
  problems: ['range_not_satisfiable'],
});

const getCurrentOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}/current',
  operationId: 'getCurrentVersion',
  tag,
  summary: 'Get the version to use now',
  description:
    "What the model's release decides for this device; without a release the head. An operator gets what the release " +
    'came to: its version when it is complete, before that the one before. The ETag also changes when another release ' +
    'comes to the same version: devices that report on versions report on it once more then.',
  policy: 'member',
  request: { params, headers: z.object({ 'If-None-Match': text('The ETag that the caller has.', ETAG) }) },
  responses: {
    200: json(ModelVersion, 'The version to use.'),
    304: { description: 'It is the one that the caller has.' },
  },
  problems: ['no_version', 'no_release'],
});

export function versionsRoutes(deps: Deps, hot: HotFiles): OpenAPIHono<AppEnv> {
  const { maxUpdateBytes: maxBytes } = deps.config;
  const source = { blobs: deps.blobs, hot };
  return createRouter()
    .openapi(createVersionOperation, async (c) => {
      const { model } = c.req.valid('param');
      const { created, version } = await createVersion(
        deps,
        c.get('principal'),
        model,
        declaredBody(c, { maxBytes }),
      );
      return c.json(toModelVersion(version), created ? 201 : 200);
    })
    .openapi(listVersionsOperation, async (c) => {
      const page = readPage(c.req.valid('query'), 'position');
      const rows = await listVersions(deps, c.get('principal'), c.req.valid('param').model, page);
      return c.json(
        toPage(rows, page.limit, { item: toModelVersion, cursor: ({ version }) => version }),
        200,
      );
    })
    .openapi(getVersionOperation, async (c) => {
      const { model, version } = c.req.valid('param');
      return c.json(toModelVersion(await requireVersion(deps, c.get('principal'), model, version)), 200);
    })
    .openapi(getWeightsOperation, async (c) => {
      const { model, version } = c.req.valid('param');
      return sendFile(c, source, await requireDownload(deps, c.get('principal'), model, version));
    })
    .openapi(getCurrentOperation, async (c) => {
      const { model } = c.req.valid('param');
      const { current, decidedBy } = await currentVersion(deps, c.get('principal'), model);
      const document = toModelVersion(current);
      const etag = `"${createHash('sha256')
        .update(JSON.stringify([document, decidedBy]))
        .digest('hex')}"`;
      const headers = { etag, 'cache-control': 'private, no-cache' };
      if (matchesEtag(c.req.header('if-none-match'), etag)) return c.body(null, 304, headers);
      return c.json(document, 200, headers);
    });
}
