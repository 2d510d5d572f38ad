import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from './store/database.ts';
import { readSchemaState, type SchemaState } from './store/migrate.ts';
import { isOutage } from './store/outage.ts';

/** A database that starts together with us may take so long to answer. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 500;
const LOOK_MS = 1000;

export interface Waiting {
  log: Logger;
  /** Aborted when the process begins to shut down. */
  stopping: AbortSignal;
}

/** Does the work again, for a minute, while the database cannot be reached. */
export async function outlastOutage<T>(work: () => Promise<T>, { log, stopping }: Waiting): Promise<T> {
  const patientUntil = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (stopping.aborted || !isOutage(error) || performance.now() > patientUntil) throw error;
      log.warn({ err: error }, 'the database cannot be reached; trying again');
      await sleep(RETRY_MS, undefined, { signal: stopping });
    }
  }
}

const reasons: Record<Exclude<SchemaState, 'ok'>, string> = {
  behind: 'the schema of the database is older than this version: waiting until it is migrated',
  ahead: 'the database belongs to a newer version: waiting, in vain unless it is restored',
};

/** Resolves once this version can work with the database's schema; for those that leave it to others to migrate it. */
export async function awaitSchema(
  db: Database,
  { log, stopping, onWait }: Waiting & { onWait?: ((schema: SchemaState) => void) | undefined },
): Promise<void> {
  let told: SchemaState = 'ok';
  for (;;) {
    const schema = await readSchemaState(db);
    if (schema === 'ok') return;
    if (schema !== told) log.warn({ schema }, reasons[schema]);
    told = schema;
    onWait?.(schema);
    await sleep(LOOK_MS, undefined, { signal: stopping });
  }
}
