import type { Clock } from '../domain/clock.ts';
import type { Database } from './database.ts';

const MEASURE_MS = 30_000;
const SAMPLES = 3;
/** A correction up to here only slows this clock; a greater one is the database's clock being set, and is followed. */
const STEP_MS = 1_000;

/** Follows the database's clock, so that replicas whose own clocks differ agree. `stop()` ends the following. */
export interface DatabaseClock extends Clock {
  stop(): void;
}

/**
 * Measures how far the database's time is from this process' monotonic clock: now, and every 30 s. Between two
 * measurements it costs no query, and it goes on through outages. It does not run backwards, unless the database's
 * clock was set back by more than a second.
 */
export async function startDatabaseClock(
  { client }: Pick<Database, 'client'>,
  onFailure: (error: unknown) => void,
): Promise<DatabaseClock> {
  let offset = await measureOffset(client);
  let latest = 0;
  const timer = setInterval(() => {
    measureOffset(client).then((measured) => {
      offset = measured;
    }, onFailure);
  }, MEASURE_MS);
  timer.unref();
  return {
    now() {
      const time = performance.now() + offset;
      if (time > latest || latest - time > STEP_MS) latest = time;
      return new Date(latest);
    },
    stop: () => clearInterval(timer),
  };
}

/** Database time minus `performance.now()`, ms, by the quickest of a few exchanges. */
async function measureOffset(client: Database['client']): Promise<number> {
  let best = { exchange: Number.POSITIVE_INFINITY, offset: 0 };
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const sent = performance.now();
    const [row] = await client<[{ now: number }]>`
      select (extract(epoch from clock_timestamp()) * 1000)::float8 as now`;
    const exchange = performance.now() - sent;
    if (exchange < best.exchange) best = { exchange, offset: row.now - sent - exchange / 2 };
  }
  return best.offset;
}
