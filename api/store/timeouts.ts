/**
 * How long a database is waited for that does not answer. Three things tell a slow one from one that has vanished
 * without a word (a partition, a frozen machine), each where the others cannot:
 *
 * - `statement_timeout`: the database itself ends a statement, so that a living one always answers in time.
 * - The driver's `silence_timeout` (scripts/patches.mjs): a connection that was asked and heard nothing for longer than
 *   that is dropped. The kernel alone would repeat what was sent for a quarter of an hour.
 * - TCP keepalive, on both sides, for connections that nobody asks anything: the next to use one does not have to find
 *   out, and the sessions of a client that has vanished do not keep their locks.
 */
import type postgres from 'postgres';

/** A process that stops in the middle of a transaction (frozen, cut off) must not keep its locks: others wait for them. */
const IDLE_IN_TRANSACTION_MS = 30_000;
/** For a new connection, or half of the time there is: the next try, of another host, needs some, too. */
const MOST_CONNECT_SECONDS = 10;
/** From the last sign of life to the first probe; Node's probes go out every second then, and ten are enough. */
const KEEP_ALIVE_SECONDS = 10;
/** The part of the time that is left to a statement: its answer, an error then, has to come before the end. */
const STATEMENT_SHARE = 0.75;

/**
 * So many seconds a connection waits before it is tried again. The driver's own would go up to 20 s within two failures
 * of a pool, and keep callers waiting while the database has long been back.
 */
const backoff = (failures: number) => Math.min(1, 0.05 * 2 ** failures) * (0.5 + Math.random() / 2);

/** The driver's options and the session's settings. Those of TCP mean nothing, and do no harm, on a Unix socket. */
export function timeoutsOf(timeoutMs: number | undefined) {
  const isBounded = timeoutMs !== undefined;
  return {
    driver: {
      backoff,
      connect_timeout: isBounded
        ? Math.min(MOST_CONNECT_SECONDS, timeoutMs / 2 / 1000)
        : MOST_CONNECT_SECONDS,
      keep_alive: KEEP_ALIVE_SECONDS,
      silence_timeout: isBounded ? timeoutMs / 1000 : undefined,
    },
    session: {
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      tcp_keepalives_idle: KEEP_ALIVE_SECONDS,
      tcp_keepalives_interval: 2,
      tcp_keepalives_count: 5,
      ...(isBounded && {
        statement_timeout: Math.round(timeoutMs * STATEMENT_SHARE),
        tcp_user_timeout: timeoutMs,
      }),
    },
  };
}

/**
 * Asks the connection that listens something, again and again: it only hears, and would wait for ever for what a
 * vanished database does not say. Once it is lost the driver listens anew and tells so.
 */
export function keepHeard(client: postgres.Sql, everyMs: number): { stop(): void } {
  const timer = setInterval(() => {
    // The driver keeps the connection that `listen` has made here.
    const { sql } = client.listen as postgres.Sql['listen'] & { sql?: postgres.Sql };
    if (sql) sql`select 1`.catch(() => undefined);
  }, everyMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
