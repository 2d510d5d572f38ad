import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { createRun, listRuns, pauseRun, requireRun, resumeRun, stopRun } from '../../services/rounds/runs.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, readPage, toPage } from '../contract/pagination.ts';
import { CreateRun, Run, RunStateName, runId, toRun, toRunRequest } from '../schemas/runs.ts';
import { modelName } from '../schemas/versions.ts';

const tag = 'Runs';
const params = z.object({ run: runId });

const createRunOperation = defineOperation({
  method: 'post',
  path: '/v1/runs',
  operationId: 'createRun',
  tag,
  summary: 'Train a model',
  description: 'Rounds open one after another from now on. A model has at most one run that is not over.',
  policy: 'operator',
  idempotent: true,
  request: { body: jsonBody(CreateRun) },
  responses: { 201: json(Run, 'The run.') },
  problems: ['invalid_run', 'not_found', 'no_version', 'model_busy'],
});

const listRunsOperation = defineOperation({
  method: 'get',
  path: '/v1/runs',
  operationId: 'listRuns',
  tag,
  summary: 'List the runs',
  policy: 'viewer',
  request: {
    query: orderedPageQuery.extend({ model: modelName.optional(), state: RunStateName.optional() }),
  },
  responses: { 200: json(pageOf(Run, 'RunPage'), 'A page of runs.') },
});

const getRunOperation = defineOperation({
  method: 'get',
  path: '/v1/runs/{run}',
  operationId: 'getRun',
  tag,
  summary: 'Get a run',
  policy: 'viewer',
  request: { params },
  responses: { 200: json(Run, 'The run.') },
});

const pauseRunOperation = defineOperation({
  method: 'post',
  path: '/v1/runs/{run}/pause',
  operationId: 'pauseRun',
  tag,
  summary: 'Pause a run',
  description: 'The open round finishes, no other opens. A paused run stays as it is.',
  policy: 'operator',
  idempotent: true,
  request: { params },
  responses: { 200: json(Run, 'The paused run.') },
  problems: ['conflict'],
});

const resumeRunOperation = defineOperation({
  method: 'post',
  path: '/v1/runs/{run}/resume',
  operationId: 'resumeRun',
  tag,
  summary: 'Resume a paused run',
  description: 'Rounds open again. An active run stays as it is.',
  policy: 'operator',
  idempotent: true,
  request: { params },
  responses: { 200: json(Run, 'The active run.') },
  problems: ['conflict'],
});

const stopRunOperation = defineOperation({
  method: 'post',
  path: '/v1/runs/{run}/stop',
  operationId: 'stopRun',
  tag,
  summary: 'Stop a run for ever',
  description:
    'A round that waits or collects fails with `run_stopped`; one that aggregates still publishes. A stopped run stays as it is.',
  policy: 'operator',
  idempotent: true,
  request: { params },
  responses: { 200: json(Run, 'The stopped run.') },
  problems: ['conflict'],
});

export function runsRoutes(deps: Deps) {
  const api = createRouter();

  api.openapi(createRunOperation, async (c) => {
    const run = await createRun(deps, c.get('principal'), toRunRequest(c.req.valid('json')));
    return c.json(toRun(run), 201, { location: `/v1/runs/${run.id}` });
  });

  api.openapi(listRunsOperation, async (c) => {
    const { model, state, ...query } = c.req.valid('query');
    const filter = { ...(model === undefined ? {} : { model }), ...(state === undefined ? {} : { state }) };
    const rows = await listRuns(deps, c.get('principal'), { filter, page: readPage(query) });
    return c.json(toPage(rows, query.limit, { item: toRun, cursor: (run) => run.id }), 200);
  });

  api.openapi(getRunOperation, async (c) => {
    return c.json(toRun(await requireRun(deps, c.get('principal'), c.req.valid('param').run)), 200);
  });

  api.openapi(pauseRunOperation, async (c) => {
    return c.json(toRun(await pauseRun(deps, c.get('principal'), c.req.valid('param').run)), 200);
  });

  api.openapi(resumeRunOperation, async (c) => {
    return c.json(toRun(await resumeRun(deps, c.get('principal'), c.req.valid('param').run)), 200);
  });

  api.openapi(stopRunOperation, async (c) => {
    return c.json(toRun(await stopRun(deps, c.get('principal'), c.req.valid('param').run)), 200);
  });

  return api;
}
