import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { keepStatements, type Statement } from './prepared-statements.ts';
import * as schema from './schema.ts';
import { keepHeard, timeoutsOf } from './timeouts.ts';

export type Schema = typeof schema;
/** A pool or a transaction: every query takes either as its first argument. */
export type Queryable = Pick<
  PostgresJsDatabase<Schema>,
  'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'execute'
>;

export interface Connection {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface Database {
  /** For queries outside of a transaction. */
  pool: PostgresJsDatabase<Schema>;
  /** Runs `work` in one READ COMMITTED transaction; it commits when `work` resolves. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
  /**
   * Runs one statement, in a transaction of its own, and returns its rows. It shares connections with other queries, so
   * nobody may wait for it who holds a lock. Not for work that `guardTransactions` guards.
   */
  run(statement: Statement): Promise<Record<string, unknown>[]>;
  /** Calls `wake` with each notification's payload, and with '' after every (re)connect, when some may have been missed. */
  listen(channel: string, wake: (payload: string) => void): Promise<void>;
  /** Names this pool's connections to the database (`pg_stat_activity`). */
  applicationName: string;
  /** The driver itself, for migrations and session locks. */
  client: postgres.Sql;
  close(): Promise<void>;
}

/** What still runs at the end of a pool has so long to end; a shutdown has drained before and has little time left. */
const CLOSE_SECONDS = 2;

type TransactionGuard = (tx: Queryable) => Promise<void>;
const guards = new AsyncLocalStorage<TransactionGuard>();

/**
 * Runs `work` so that every transaction that it begins ends with `guard`, just before it commits: what the guard
 * writes is committed with it, and what the guard throws rolls it back. For idempotency keys, whose claim has to hold
 * at the commit of effects that know nothing of it.
 */
export function guardTransactions<T>(guard: TransactionGuard, work: () => Promise<T>): Promise<T> {
  return guards.run(guard, work);
}

export interface DatabaseOptions {
  connections: number;
  /**
   * How long an answer of the database is waited for. A statement that takes longer is cancelled; a connection that says
   * nothing for so long is dropped. Undefined: without end, for work that takes as long as it takes.
   */
  timeoutMs?: number | undefined;
}

/** Opens a pool on a PostgreSQL (15 or newer) by URL or, for the embedded one, by its socket. */
export function openDatabase(target: string | Connection, options: DatabaseOptions): Database {
  const applicationName = `fededge ${process.pid} ${randomUUID().slice(0, 8)}`;
  const timeouts = timeoutsOf(options.timeoutMs);
  const settings = {
    max: options.connections,
    idle_timeout: 0,
    onnotice: () => undefined,
    ...timeouts.driver,
    connection: { application_name: applicationName, TimeZone: 'UTC', ...timeouts.session },
  };
  const client =
    typeof target === 'string' ? postgres(target, settings) : postgres({ ...target, ...settings });
  const pool = drizzle(keepStatements(client), { schema });
  const heartbeat = options.timeoutMs === undefined ? undefined : keepHeard(client, options.timeoutMs / 2);
  return {
    pool,
    transaction(work) {
      const guard = guards.getStore();
      return pool.transaction(async (tx) => {
        const result = await work(tx);
        await guard?.(tx);
        return result;
      });
    },
    async run({ text, parameters }) {
      if (guards.getStore()) throw new Error('a statement of its own cannot be guarded');
      return client.unsafe(text, parameters, { prepare: true });
    },
    async listen(channel, wake) {
      await client.listen(channel, wake, () => wake(''));
    },
    applicationName,
    client,
    close() {
      heartbeat?.stop();
      return client.end({ timeout: CLOSE_SECONDS });
    },
  };
}

/** Rejects if the database does not answer. */
export async function pingDatabase(db: Database): Promise<void> {
  await db.client`select 1`;
}
