import { z } from '@hono/zod-openapi';
import type { JSONValue } from 'hono/utils/types';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { createMeasurements } from '../../services/measurements.ts';
import { createReadiness } from '../../services/readiness.ts';
import type { Document } from '../contract/document.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';

const tag = 'System';

const Alive = z.object({ status: z.literal('alive') }).openapi('Alive');

const Ready = z
  .object({
    status: z.literal('ready'),
    checks: z
      .object({ database: z.literal('ok'), schema: z.literal('ok'), blobs: z.literal('ok') })
      .openapi({ description: 'Parts that the server needs.' }),
  })
  .openapi('Ready');

const getLiveness = defineOperation({
  method: 'get',
  path: '/livez',
  operationId: 'getLiveness',
  tag,
  summary: 'Tell whether the process runs',
  policy: 'public',
  responses: { 200: json(Alive, 'It runs.') },
});

const getReadiness = defineOperation({
  method: 'get',
  path: '/readyz',
  operationId: 'getReadiness',
  tag,
  summary: 'Tell whether requests can be served',
  description:
    'Asks the database, its schema and the blob store, at most once in a second. Not ready is 503 with `checks`: each ' +
    'is `ok`, `failed`, `timeout` (2 s), for the schema `behind` or `ahead` of this version, or for the blobs ' +
    '`missing`: the folder is there and its volume is not mounted, or it is another bucket.',
  policy: 'public',
  responses: { 200: json(Ready, 'All parts answer.') },
});

const getMetrics = defineOperation({
  method: 'get',
  path: '/metrics',
  operationId: 'getMetrics',
  tag,
  summary: 'Get what this process measures',
  description:
    "Prometheus' text format. No label names a device, a model or a run. What the database knows is told by every " +
    'process alike: take `max` over them. Public, like `/readyz`: let your proxy keep it inside.',
  policy: 'public',
  responses: {
    200: {
      description: 'Metrics.',
      content: {
        'text/plain': { schema: z.string().openapi({ example: 'fededge_waiting_devices 12' }) },
      },
    },
  },
});

const getDocument = defineOperation({
  method: 'get',
  path: '/openapi.json',
  operationId: 'getDocument',
  tag,
  summary: 'Get this document',
  policy: 'public',
  responses: {
    200: json(
      z.record(z.string().max(100), z.unknown()).openapi({ example: { openapi: '3.1.0' } }),
      'The OpenAPI 3.1 document.',
    ),
  },
});

export function systemRoutes(deps: Deps, readDocument: () => Document) {
  const api = createRouter();
  const readiness = createReadiness(deps);
  const measurements = createMeasurements(deps);

  api.openapi(getLiveness, (c) => c.json({ status: 'alive' as const }, 200));

  api.openapi(getReadiness, async (c) => {
    if (deps.stopping.aborted) throw new FedEdgeError('shutting_down');
    const checks = await readiness();
    const parsed = Ready.shape.checks.safeParse(checks);
    if (!parsed.success) throw new FedEdgeError('unavailable', { checks });
    return c.json({ status: 'ready' as const, checks: parsed.data }, 200, { 'cache-control': 'no-store' });
  });

  api.openapi(getMetrics, async (c) => {
    const { text, type } = await measurements();
    return c.body(text, 200, { 'content-type': type, 'cache-control': 'no-store' }) as never;
  });

  api.openapi(getDocument, (c) =>
    c.json(readDocument() as unknown as Record<string, JSONValue>, 200, { 'cache-control': 'no-cache' }),
  );

  return api;
}
