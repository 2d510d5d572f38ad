import type { Deps } from '../../deps.ts';
import { MAX_GATHERED_BYTES } from '../../domain/body.ts';
import type { BlobWriter } from '../../store/blobs/blob-store.ts';
import type { Database } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { reserveBlobs } from '../../store/models/blob-rows.ts';

/** A place for an update's file. */
export interface Reservation {
  key: string;
  /** Resolves when the blob is announced: nothing may be visible under its key before. */
  announced: Promise<void>;
  /** Open already, to be written whole. To be committed or aborted. */
  opened?: BlobWriter | undefined;
}

/** Under load, so much of a second's need is announced ahead; less than a handful is not worth it. */
const AHEAD = 0.2;
const LEAST_AHEAD = 5;
const MOST_AHEAD = 64;
const WINDOW_MS = 1000;
/** What was announced longer ago is left to the sweeper: an upload takes up to 50 minutes of the hour that it gives. */
const MAX_AGE_MS = 5 * 60_000;
/** Nobody looks at an open file's name again, which may go with its folder. */
const KEEP_OPEN_MS = 2000;

interface Ready {
  key: string;
  announcedAt: number;
  opened: BlobWriter | undefined;
}

interface Batch {
  keys: string[];
  announced: Promise<void>;
}

interface Steps {
  announce(keys: readonly string[], now: Date): Promise<void>;
  /** In the order of the keys, or none. */
  open(keys: readonly string[]): Promise<readonly BlobWriter[]>;
}

type Stock = ReturnType<typeof createStock>;

/** Of bodies that come at once, and of others, which are written as they come. */
const stocks = { small: new WeakMap<Database, Stock>(), large: new WeakMap<Database, Stock>() };

/**
 * A reservation of its own for an update of `bytes`, at once: from what was announced ahead, else with all that come
 * meanwhile. Those that were announced ahead for small ones are open, too: then only one call, which writes and syncs, lies
 * between a body and its acknowledgement.
 */
export function reserveUpdateBlob(
  { db, blobs, clock, log }: Pick<Deps, 'db' | 'blobs' | 'clock' | 'log'>,
  bytes: number,
): Reservation {
  const isSmall = bytes <= MAX_GATHERED_BYTES;
  const kept = isSmall ? stocks.small : stocks.large;
  const openAhead = (keys: readonly string[]) =>
    blobs.openAhead(keys).catch((error: unknown) => {
      log.debug({ err: error }, 'no blobs could be opened ahead');
      return [];
    });
  const stock =
    kept.get(db) ??
    createStock({
      announce: (keys, now) => reserveBlobs(db.pool, keys, now),
      open: isSmall ? openAhead : async () => [],
    });
  kept.set(db, stock);
  return stock.take(clock.now());
}

function createStock({ announce, open }: Steps) {
  const ready: Ready[] = [];
  const measureNeed = createGauge();
  let underWay: Promise<unknown> = Promise.resolve();
  let next: Batch | undefined;

  function begin(now: Date): Batch {
    const keys: string[] = [];
    const ahead: string[] = [];
    const announced = underWay.then(async () => {
      next = undefined;
      for (let left = measureNeed(0); left > 0; left -= 1) ahead.push(newKey(now));
      await announce([...keys, ...ahead], now);
    });
    underWay = announced.then(() => prepare(ahead, now)).catch(() => undefined);
    return { keys, announced };
  }

  async function prepare(keys: readonly string[], now: Date): Promise<void> {
    if (keys.length === 0) return;
    const writers = await open(keys);
    const announcedAt = now.getTime();
    const prepared = keys.map((key, index) => ({ key, announcedAt, opened: writers[index] }));
    ready.push(...prepared);
    if (writers.length > 0) setTimeout(() => prepared.forEach(shut), KEEP_OPEN_MS).unref();
  }

  function shut(place: Ready): void {
    if (ready.includes(place)) void place.opened?.abort();
    place.opened = undefined;
  }

  return {
    take(now: Date): Reservation {
      const need = measureNeed(1);
      for (let kept = ready.shift(); kept; kept = ready.shift()) {
        const age = now.getTime() - kept.announcedAt;
        if (age < 0 || age > MAX_AGE_MS) {
          void kept.opened?.abort();
          continue;
        }
        if (ready.length < need / 2) next ??= begin(now);
        return { key: kept.key, announced: Promise.resolve(), opened: kept.opened };
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
