import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { putEvaluationSet, requireEvaluationSet } from '../../services/models/evaluation-sets.ts';
import { createModel, listModels, requireModel } from '../../services/models/models.ts';
import type { AppEnv } from '../context.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, readPage, toPage } from '../contract/pagination.ts';
import {
  CreateModel,
  EvaluationSet,
  Model,
  ModelSummary,
  toModel,
  toModelSummary,
} from '../schemas/models.ts';
import { declaredHeaders, modelName, tensorBody } from '../schemas/versions.ts';
import { declaredBody } from '../wire/body.ts';

const tag = 'Models';
const params = z.object({ model: modelName });
/** A topology and thousands of tensors. */
const MAX_MANIFEST_BYTES = 4 << 20;

const createModelOperation = defineOperation({
  method: 'post',
  path: '/v1/models',
  operationId: 'createModel',
  tag,
  summary: 'Create a model',
  description: 'A model begins with a manifest and without a version: upload its initial weights next.',
  policy: 'operator',
  idempotent: true,
  maxBodyBytes: MAX_MANIFEST_BYTES,
  request: { body: jsonBody(CreateModel) },
  responses: { 201: json(Model, 'The model.') },
  problems: ['name_taken', 'invalid_manifest', 'architecture_refused'],
});

const listModelsOperation = defineOperation({
  method: 'get',
  path: '/v1/models',
  operationId: 'listModels',
  tag,
  summary: 'List the models',
  policy: 'member',
  request: { query: orderedPageQuery },
  responses: { 200: json(pageOf(ModelSummary, 'ModelPage'), 'The models.') },
  problems: ['invalid_cursor'],
});

const getModelOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}',
  operationId: 'getModel',
  tag,
  summary: 'Get a model with its manifest',
  policy: 'member',
  request: { params },
  responses: { 200: json(Model, 'The model.') },
});

const putEvaluationSetOperation = defineOperation({
  method: 'put',
  path: '/v1/models/{model}/evaluation-set',
  operationId: 'putEvaluationSet',
  tag,
  summary: 'Upload the labelled examples that versions are scored on',
  description:
    'A safetensors file with `x` [N, ...] (F32, or U8 for images) and `y` [N] (class indices, I32 or U8). It takes the ' +
    'place of the set before; the current version is scored anew.',
  policy: 'operator',
  request: { params, headers: declaredHeaders, body: tensorBody },
  responses: { 200: json(EvaluationSet, 'The evaluation set.') },
  problems: ['invalid_digest', 'digest_mismatch', 'body_incomplete', 'malformed'],
});

const getEvaluationSetOperation = defineOperation({
  method: 'get',
  path: '/v1/models/{model}/evaluation-set',
  operationId: 'getEvaluationSet',
  tag,
  summary: 'Describe the evaluation set',
  policy: 'viewer',
  request: { params },
  responses: { 200: json(EvaluationSet, 'The evaluation set.') },
});

export function modelsRoutes(deps: Deps): OpenAPIHono<AppEnv> {
  const { maxUpdateBytes: maxBytes } = deps.config;
  return createRouter()
    .openapi(createModelOperation, async (c) =>
      c.json(toModel(await createModel(deps, c.get('principal'), c.req.valid('json'))), 201),
    )
    .openapi(listModelsOperation, async (c) => {
      const page = readPage(c.req.valid('query'));
      const rows = await listModels(deps, c.get('principal'), page);
      return c.json(toPage(rows, page.limit, { item: toModelSummary, cursor: ({ id }) => id }), 200);
    })
    .openapi(getModelOperation, async (c) =>
      c.json(toModel(await requireModel(deps, c.get('principal'), c.req.valid('param').model)), 200),
    )
    .openapi(putEvaluationSetOperation, async (c) => {
      const { model } = c.req.valid('param');
      const set = await putEvaluationSet(deps, c.get('principal'), model, declaredBody(c, { maxBytes }));
      return c.json(set, 200);
    })
    .openapi(getEvaluationSetOperation, async (c) =>
      c.json(await requireEvaluationSet(deps, c.get('principal'), c.req.valid('param').model), 200),
    );
}
