import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { listRounds, listUpdates, requireRound } from '../../services/rounds/rounds.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, pageQuery, readPage, toPage } from '../contract/pagination.ts';
import { Round, RoundKindName, roundId, toRound, toUpdate, Update } from '../schemas/rounds.ts';
import { runId } from '../schemas/runs.ts';

const tag = 'Rounds';
const params = z.object({ round: roundId });

const listRoundsOperation = defineOperation({
  method: 'get',
  path: '/v1/runs/{run}/rounds',
  operationId: 'listRounds',
  tag,
  summary: 'List the rounds of a run',
  policy: 'viewer',
  request: {
    params: z.object({ run: runId }),
    query: orderedPageQuery.extend({ kind: RoundKindName.optional() }),
  },
  responses: { 200: json(pageOf(Round, 'RoundPage'), 'A page of rounds.') },
});

const getRoundOperation = defineOperation({
  method: 'get',
  path: '/v1/rounds/{round}',
  operationId: 'getRound',
  tag,
  summary: 'Get a round',
  policy: 'viewer',
  request: { params },
  responses: { 200: json(Round, 'The round.') },
});

const listUpdatesOperation = defineOperation({
  method: 'get',
  path: '/v1/rounds/{round}/updates',
  operationId: 'listUpdates',
  tag,
  summary: 'List the updates of a round',
  description: 'In the order of folding. An acknowledged update stays in this list for ever.',
  policy: 'viewer',
  request: { params, query: pageQuery },
  responses: { 200: json(pageOf(Update, 'UpdatePage'), 'A page of updates.') },
});

export function roundsRoutes(deps: Deps) {
  const api = createRouter();

  api.openapi(listRoundsOperation, async (c) => {
    const { kind, ...query } = c.req.valid('query');
    const { run } = c.req.valid('param');
    const filter = { run, page: readPage(query), ...(kind === undefined ? {} : { kind }) };
    const rows = await listRounds(deps, c.get('principal'), filter);
    return c.json(toPage(rows, query.limit, { item: toRound, cursor: (round) => round.id }), 200);
  });

  api.openapi(getRoundOperation, async (c) => {
    return c.json(toRound(await requireRound(deps, c.get('principal'), c.req.valid('param').round)), 200);
  });

  api.openapi(listUpdatesOperation, async (c) => {
    const query = c.req.valid('query');
    const { round } = c.req.valid('param');
    const rows = await listUpdates(deps, c.get('principal'), { round, page: readPage(query, 'position') });
    return c.json(toPage(rows, query.limit, { item: toUpdate, cursor: (update) => update.sequence }), 200);
  });

  return api;
}
