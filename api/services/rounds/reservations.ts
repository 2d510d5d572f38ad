import type { Deps } from '../../deps.ts';
import type { Database } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { reserveBlobs } from '../../store/models/blob-rows.ts';

/** A place for an update's file. */
export interface Reservation {
  key: string;
  /** Resolves when the blob is announced: nothing may be visible under its key before. */
  announced: Promise<void>;
}

/** Under load, so much of a second's need is announced ahead; less than a handful is not worth it. */
const AHEAD = 0.1;
const LEAST_AHEAD = 5;
const MOST_AHEAD = 64;
const WINDOW_MS = 1000;
/** What was announced longer ago is left to the sweeper: an upload takes up to 50 minutes of the hour that it gives. */
const MAX_AGE_MS = 5 * 60_000;

interface Batch {
  keys: string[];
  announced: Promise<void>;
}

type Stock = ReturnType<typeof createStock>;

const stocks = new WeakMap<Database, Stock>();

/** A reservation of its own for an update, at once: from what was announced ahead, else with all that come meanwhile. */
export function reserveUpdateBlob({ db, clock }: Pick<Deps, 'db' | 'clock'>): Reservation {
  let stock = stocks.get(db);
  if (!stock) {
    stock = createStock((keys, now) => reserveBlobs(db.pool, keys, now));
    stocks.set(db, stock);
  }
  return stock.take(clock.now());
}

function createStock(reserve: (keys: readonly string[], now: Date) => Promise<void>) {
  const ready: { key: string; announcedAt: number }[] = [];
  const measureNeed = createGauge();
  let underWay: Promise<unknown> = Promise.resolve();
  let next: Batch | undefined;

  function begin(now: Date): Batch {
    const keys: string[] = [];
    const announced = underWay.then(async () => {
      next = undefined;
      const ahead = Array.from({ length: measureNeed(0) }, () => newKey(now));
      await reserve([...keys, ...ahead], now);
      ready.push(...ahead.map((key) => ({ key, announcedAt: now.getTime() })));
    });
    underWay = announced.catch(() => undefined);
    return { keys, announced };
  }

  return {
    take(now: Date): Reservation {
      const need = measureNeed(1);
      for (let kept = ready.shift(); kept; kept = ready.shift()) {
        const age = now.getTime() - kept.announcedAt;
        if (age < 0 || age > MAX_AGE_MS) continue;
        if (ready.length < need / 2) next ??= begin(now);
        return { key: kept.key, announced: Promise.resolve() };
      }
      next ??= begin(now);
      const key = newKey(now);
      next.keys.push(key);
      return { key, announced: next.announced };
    },
  };
}

const newKey = (now: Date) => `update/${newId(now)}`;

/** Counts, and tells how many to have ahead: none unless there are many in a second. */
function createGauge(): (more: number) => number {
  let since = performance.now();
  let before = 0;
  let counted = 0;
  return (more) => {
    const elapsed = performance.now() - since;
    if (elapsed > WINDOW_MS) {
      before = elapsed < 2 * WINDOW_MS ? counted : 0;
      counted = 0;
      since += elapsed;
    }
    counted += more;
    const ahead = Math.floor(Math.max(before, counted) * AHEAD);
    return ahead < LEAST_AHEAD ? 0 : Math.min(MOST_AHEAD, ahead);
  };
}
