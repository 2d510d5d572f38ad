import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { createApi } from '../../../api/http/app.ts';
import type { GuardOptions } from '../../../api/http/limits/guards.ts';
import type { Quick } from '../../../api/http/quick/requests.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { openRaw } from '../../support/raw-http.ts';

/** In which a server sees that a connection has ended. */
const NOTICED_MS = 50;

type ApiDeps = Parameters<typeof createApi>[0];

/** What became of the last request to a server. */
export interface Way {
  /** It was taken without the router. */
  wasQuick: boolean;
  /** It was taken, and the app had to answer it nevertheless. */
  wasLeft: boolean;
}

/** The same API twice: as it is served, and by its router alone. */
export interface QuickServers {
  quick: Listening;
  slow: Listening;
  way: Way;
  close(): Promise<void>;
}

export async function startQuickServers(deps: ApiDeps, options: GuardOptions = {}): Promise<QuickServers> {
  const api = createApi(deps, options);
  const way: Way = { wasQuick: false, wasLeft: false };
  const quick: Quick = (incoming, outgoing, fallBack) => {
    way.wasLeft = false;
    way.wasQuick = api.quick(incoming, outgoing, () => {
      way.wasLeft = true;
      fallBack();
    });
    return way.wasQuick;
  };
  const address = { host: '127.0.0.1', port: 0 };
  const servers = {
    quick: await listen({ fetch: api.app.fetch, quick }, address),
    slow: await listen({ fetch: api.app.fetch }, address),
  };
  return {
    ...servers,
    way,
    async close() {
      await Promise.all(Object.values(servers).map((server) => server.close(0)));
    },
  };
}

/** A database that cannot be reached. */
export function unreachable(deps: ApiDeps): ApiDeps {
  const pool = new Proxy(deps.db.pool, {
    get() {
      throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    },
  });
  return { ...deps, db: { ...deps.db, pool } };
}

/** Sends by a connection that goes while its device's key is looked up, which takes until the server has seen that. */
export async function leaveDuringLookUp(
  { quick, way }: QuickServers,
  { db }: Pick<ApiDeps, 'db'>,
  pieces: readonly (string | Uint8Array)[],
): Promise<void> {
  await db.client.begin(async (tx) => {
    await tx`lock table device_keys in access exclusive mode`;
    way.wasQuick = false;
    const connection = openRaw(quick.port);
    for (const piece of pieces) connection.send(piece);
    await expect.poll(() => way.wasQuick).toBe(true);
    connection.socket.destroy();
    await setTimeout(NOTICED_MS);
  });
}

/** What an answer says, but what differs from one to the next. */
export async function toldBy(answer: Response) {
  const headers = [...answer.headers].filter(
    ([name]) => !['date', 'x-request-id', 'ratelimit'].includes(name),
  );
  const text = await answer.text();
  const { requestId: _, ...body } = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
  return { status: answer.status, headers, body };
}

/** How many requests of an operation a process has answered with a status like `2xx`. */
export async function countMeasured(
  { metrics }: Pick<ApiDeps, 'metrics'>,
  operation: string,
  status: string,
): Promise<number> {
  const { values } = await metrics.httpSeconds.get();
  const isMeant = ({ metricName, labels }: (typeof values)[number]) =>
    metricName?.endsWith('_count') && labels.operation === operation && labels.status === status;
  return values.find(isMeant)?.value ?? 0;
}
