import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { currentPosition, followEvents } from '../../services/journal/events.ts';
import { createRouter, defineOperation } from '../contract/operation.ts';
import { streamEvents } from '../wire/event-stream.ts';

const position = z
  .string()
  .regex(/^\d{1,15}$/)
  .openapi({ example: '1042' });

const followEventsOperation = defineOperation({
  method: 'get',
  path: '/v1/events',
  operationId: 'followEvents',
  tag: 'Events',
  summary: 'Follow what happens',
  description:
    'Server-sent events: each has its position as `id`, its type as `event` and as `data` an object with `position`, ' +
    '`type`, `subject` and `createdAt`. Positions are in the order of commits: a reader that comes back with ' +
    '`Last-Event-ID` misses nothing. A comment comes every 15 s. Without a position the stream begins with what happens ' +
    'from now on.',
  policy: 'viewer',
  request: {
    headers: z.object({
      'Last-Event-ID': position.optional().openapi({
        description: 'The position of the last event seen. Goes before `after`.',
        example: '1042',
      }),
    }),
    query: z.object({
      after: position
        .optional()
        .openapi({ description: 'Begin after this position; 0: from the start.', example: '0' }),
      types: z
        .string()
        .max(400)
        .regex(/^[a-z_.]+(,[a-z_.]+)*$/)
        .optional()
        .openapi({
          description: 'Only events of these types, separated by commas.',
          example: 'round.completed,round.failed',
        }),
    }),
  },
  responses: {
    200: {
      description: 'The stream. It ends when the server shuts down.',
      content: {
        'text/event-stream': {
          schema: z.string().openapi({
            example:
              'id: 1043\nevent: run.paused\ndata: {"position":1043,"type":"run.paused",' +
              '"subject":{"run":"0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44","model":"mnist-cnn"},' +
              '"createdAt":"2026-03-01T10:00:00.000Z"}\n\n',
          }),
        },
      },
    },
  },
});

export function eventsRoutes(deps: Deps) {
  const api = createRouter();

  api.openapi(followEventsOperation, async (c) => {
    const { after, types } = c.req.valid('query');
    const last = await currentPosition(deps);
    const asked = c.req.valid('header')['Last-Event-ID'] ?? after;
    const from = { after: Math.min(Number(asked ?? last), last), types: types?.split(',') ?? [] };
    const authenticate = c.get('authenticate');
    const principal = c.get('principal');
    const log = c.get('log');
    const authorization = c.req.header('authorization');
    const body = streamEvents({
      position: from.after,
      follow: (signal) => followEvents(deps, principal, from, signal),
      stillAllowed: () => authenticate(authorization, 'viewer'),
      onError: (error) => log.warn({ err: error }, 'an event stream broke off'),
      signal: deps.stopping,
    });
    return c.body(body, 200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
  });

  return api;
}
