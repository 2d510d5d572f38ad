import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { keepStatements } from './prepared-statements.ts';
import * as schema from './schema.ts';

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
  /** Calls `wake` with each notification's payload, and with '' after every (re)connect, when some may have been missed. */
  listen(channel: string, wake: (payload: string) => void): Promise<void>;
  /** Names this pool's connections to the database (`pg_stat_activity`). */
  applicationName: string;
  /** The driver itself, for migrations and session locks. */
  client: postgres.Sql;
  close(): Promise<void>;
}

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

/** A process that stops in the middle of a transaction (frozen, cut off) must not keep its locks: others wait for them. */
const IDLE_IN_TRANSACTION_MS = 30_000;

/**
 * So many seconds a connection waits before it is tried again. The driver's own would go up to 20 s within two failures
 * of a pool, and keep callers waiting while the database has long been back.
 */
const backoff = (failures: number) => Math.min(1, 0.05 * 2 ** failures) * (0.5 + Math.random() / 2);

/** Opens a pool on a PostgreSQL (15 or newer) by URL or, for the embedded one, by its socket. */
export function openDatabase(target: string | Connection, options: { connections: number }): Database {
  const applicationName = `fededge ${process.pid} ${randomUUID().slice(0, 8)}`;
  const settings = {
    max: options.connections,
    idle_timeout: 0,
    connect_timeout: 10,
    backoff,
    onnotice: () => undefined,
    connection: {
      application_name: applicationName,
      TimeZone: 'UTC',
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    },
  };
  const client =
    typeof target === 'string' ? postgres(target, settings) : postgres({ ...target, ...settings });
  const pool = drizzle(keepStatements(client), { schema });
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
    async listen(channel, wake) {
      await client.listen(channel, wake, () => wake(''));
    },
    applicationName,
    client,
    close: () => client.end({ timeout: 5 }),
  };
}

/** Rejects if the database does not answer. */
export async function pingDatabase(db: Database): Promise<void> {
  await db.client`select 1`;
}
