import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { returnAssignment, toDocument } from '../../services/rounds/assignments.ts';
import { submitEvaluation } from '../../services/rounds/evaluations.ts';
import { submitUpdate } from '../../services/rounds/updates.ts';
import type { WaitingRoom } from '../../services/rounds/waiting-room.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { asDevice } from '../principals.ts';
import {
  assignment,
  assignmentParams,
  evaluationReceipt,
  evaluationReport,
  receipt,
} from '../schemas/assignments.ts';
import { declaredBody } from '../wire/body.ts';

const MAX_WAIT_SECONDS = 60;

const getAssignment = defineOperation({
  method: 'get',
  path: '/v1/assignment',
  operationId: 'getAssignment',
  tag: 'Assignments',
  summary: 'Wait for something to do',
  description:
    'A long poll: answers as soon as the device has an open assignment, else after `wait` seconds with 204 and a ' +
    '`Retry-After` that the server chooses. Every poll returns the open assignment until it is settled, so a lost ' +
    'answer loses nothing. Waiting also tells the server that the device is present.',
  policy: 'device',
  request: {
    query: z.object({
      wait: z.coerce
        .number()
        .int()
        .min(0)
        .max(MAX_WAIT_SECONDS)
        .default(0)
        .openapi({ description: 'Seconds to wait at most.', example: 25 }),
    }),
  },
  responses: {
    200: json(assignment, 'What the device has to do'),
    204: {
      description: 'Nothing to do now',
      headers: z.object({
        'Retry-After': z.string().openapi({ description: 'Seconds to stay away.', example: '1' }),
      }),
    },
  },
});

const putUpdate = defineOperation({
  method: 'put',
  path: '/v1/assignments/{assignment}/update',
  operationId: 'putUpdate',
  tag: 'Assignments',
  summary: 'Send the update of an assignment',
  description:
    'A tensor file (safetensors) with the delta: trained minus received weights. `__metadata__` carries `num_examples`, ' +
    '`metrics` (JSON) and `encoding` (`f32`, `bf16`). Needs `Content-Length` and `Content-Digest: sha-256=:...:`. ' +
    'It is acknowledged when it is durable; the same file again gets the first receipt.',
  policy: 'device',
  request: {
    params: assignmentParams,
    body: {
      required: true,
      content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
    },
  },
  responses: {
    200: json(receipt, 'It had been accepted before: the first receipt'),
    201: json(receipt, 'Accepted'),
  },
  problems: [
    'late',
    'full',
    'not_in_cohort',
    'update_conflict',
    'malformed',
    'invalid_digest',
    'digest_mismatch',
    'body_incomplete',
  ],
});

const putEvaluation = defineOperation({
  method: 'put',
  path: '/v1/assignments/{assignment}/evaluation',
  operationId: 'putEvaluation',
  tag: 'Assignments',
  summary: 'Send the results of an evaluate assignment',
  policy: 'device',
  request: { params: assignmentParams, body: jsonBody(evaluationReport) },
  responses: { 200: json(evaluationReceipt, 'Accepted, now or before') },
  problems: ['late', 'full', 'not_in_cohort', 'evaluation_conflict'],
});

const deleteAssignment = defineOperation({
  method: 'delete',
  path: '/v1/assignments/{assignment}',
  operationId: 'deleteAssignment',
  tag: 'Assignments',
  summary: 'Give an assignment back',
  description: 'The server invites another device instead. A repeat changes nothing.',
  policy: 'device',
  request: {
    params: assignmentParams,
    query: z.object({
      reason: z
        .enum(['battery', 'no_data', 'busy', 'failed', 'other'])
        .default('other')
        .openapi({ description: 'Why the device gives it back.', example: 'battery' }),
    }),
  },
  responses: { 204: { description: 'Given back' } },
  problems: ['assignment_settled'],
});

export function assignmentRoutes(deps: Deps, waitingRoom: WaitingRoom) {
  const api = createRouter();

  api.openapi(getAssignment, async (c) => {
    const { wait } = c.req.valid('query');
    const result = await waitingRoom.wait(asDevice(c.get('principal')), wait * 1000, c.req.raw.signal);
    if (result.status === 'assigned') return c.json(toDocument(deps, result.assignment), 200);
    return c.body(null, 204, { 'Retry-After': String(result.retryAfterSeconds) });
  });

  api.openapi(putUpdate, async (c) => {
    const declared = declaredBody(c, { maxBytes: deps.config.maxUpdateBytes });
    const { assignment: id } = c.req.valid('param');
    const answer = await submitUpdate(deps, asDevice(c.get('principal')), id, declared);
    return c.json(answer, answer.status === 'accepted' ? 201 : 200);
  });

  api.openapi(putEvaluation, async (c) => {
    const { assignment: id } = c.req.valid('param');
    return c.json(await submitEvaluation(deps, asDevice(c.get('principal')), id, c.req.valid('json')), 200);
  });

  api.openapi(deleteAssignment, async (c) => {
    const { assignment: id } = c.req.valid('param');
    await returnAssignment(deps, asDevice(c.get('principal')), id, c.req.valid('query').reason);
    return c.body(null, 204);
  });

  return api;
}
