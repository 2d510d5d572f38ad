import { createApi } from '../../api/http/app.ts';
import type { GuardOptions } from '../../api/http/limits/guards.ts';
import type { Quick } from '../../api/http/quick/requests.ts';
import { type Listening, listen } from '../../api/http/wire/listen.ts';

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

/** Nobody can look at a device's key until it is released. */
export async function lockKeys({ db }: Pick<ApiDeps, 'db'>): Promise<{ release(): Promise<void> }> {
  const locked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const holding = db.client.begin(async (tx) => {
    await tx`lock table device_keys in access exclusive mode`;
    locked.resolve();
    await released.promise;
  });
  await Promise.race([locked.promise, holding]);
  return {
    async release() {
      released.resolve();
      await holding;
    },
  };
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
