import type { Deps } from '../../deps.ts';
import { isGathered } from '../../domain/body.ts';
import type { BlobWriter } from '../../store/blobs/blob-store.ts';
import type { Database } from '../../store/database.ts';
import { abandonBlob, reserveBlobs } from '../../store/models/blob-rows.ts';
import type { Place } from '../models/tensor-intake.ts';
import { newUpdateKey } from './update-keys.ts';

/** A place for an update's file. */
export interface Reservation {
  /** To be called once, as late as can be. */
  claim(isWhole: boolean): Place;
  /** Leaves it to the sweeper, if it was claimed or announced; its writer has ended. Never rejects. */
  abandon(): Promise<void>;
}

/** Under load, so much of a second's need is announced ahead, most of it for small bodies' bursts. */
const AHEAD = 0.5;
/** Less than a handful is not worth it. */
const LEAST_AHEAD = 5;
const MOST_AHEAD = 64;
const WINDOW_MS = 1000;
/** What was announced longer ago is left to the sweeper: an upload takes up to 50 minutes of the hour that it gives. */
const MAX_AGE_MS = 5 * 60_000;
/** Nobody looks again whether an open file's folder is still there. */
const KEEP_OPEN_MS = 2000;

interface Ready extends Place {
  announcedAt: number;
}

interface Batch {
  keys: string[];
  announced: Promise<void>;
}

interface Steps {
  announce(keys: readonly string[], now: Date): Promise<void>;
  /** Writers in the order of the keys, or none; undefined: it failed, and who knows what is there. */
  open(keys: readonly string[]): Promise<readonly BlobWriter[] | undefined>;
}

type Stock = ReturnType<typeof createStock>;

/** Of bodies that are written at once, and of those that are written as they come. */
const stocks = { whole: new WeakMap<Database, Stock>(), streamed: new WeakMap<Database, Stock>() };

/**
 * A reservation for an update of `bytes`, at once: of what was announced ahead, else together with all that come meanwhile.
 * What was announced ahead for small bodies is open, too: then one call, which writes and syncs, lies between a body and its
 * acknowledgement.
 */
export function reserveUpdateBlob(
  deps: Pick<Deps, 'db' | 'blobs' | 'clock' | 'log'>,
  bytes: number,
): Reservation {
  const { db, clock } = deps;
  const isStreamed = !isGathered(bytes);
  const stock = stockOf(deps, isStreamed ? 'streamed' : 'whole');
  let key: string | undefined;
  let announced: Promise<void> = Promise.resolve();

  function announce(): void {
    ({ key, announced } = stock.announce(clock.now()));
    // Told to who claims it; until then a failure must not count as unhandled, which ends the process.
    announced.catch(() => undefined);
  }

  /** A ready place is left for it. */
  let isPromised = stock.expect(clock.now());
  if (!isPromised) announce();

  function settle(): void {
    if (isPromised) stock.settle();
    isPromised = false;
  }

  return {
    claim(isWhole) {
      settle();
      const mayTake = key === undefined && (isWhole || isStreamed);
      const ready = mayTake ? stock.take(clock.now()) : undefined;
      if (ready) {
        key = ready.key;
        return ready;
      }
      if (key === undefined) announce();
      return { key: key!, announced };
    },
    async abandon() {
      settle();
      const named = key;
      if (named === undefined) return;
      await announced.then(() => abandonBlob(db.pool, named)).catch(() => undefined);
    },
  };
}

function stockOf({ db, blobs, log }: Pick<Deps, 'db' | 'blobs' | 'log'>, kind: keyof typeof stocks): Stock {
  const known = stocks[kind].get(db);
  if (known) return known;
  const openAhead = (keys: readonly string[]) =>
    blobs.openAhead(keys).catch((error: unknown) => {
      log.debug({ err: error }, 'no blobs could be opened ahead');
      return undefined;
    });
  const stock = createStock({
    announce: (keys, now) => reserveBlobs(db.pool, keys, now),
    open: kind === 'whole' ? openAhead : async () => [],
  });
  stocks[kind].set(db, stock);
  return stock;
}

function createStock({ announce, open }: Steps) {
  const ready: Ready[] = [];
  const measureNeed = createGauge();
  let underWay: Promise<unknown> = Promise.resolve();
  let next: Batch | undefined;
  /** Announced, and about to be ready. */
  let coming = 0;
  /** Updates that wait for their body, and count on a ready place then. */
  let expected = 0;

  const missing = () => measureNeed(0) - ready.length - coming;

  function begin(now: Date): Batch {
    const keys: string[] = [];
    const announced = underWay.then(async () => {
      next = undefined;
      const ahead = Array.from({ length: Math.max(0, missing()) }, () => newUpdateKey(now));
      coming += ahead.length;
      try {
        await announce([...keys, ...ahead], now);
      } catch (error) {
        coming -= ahead.length;
        throw error;
      }
      void prepare(ahead, now);
    });
    underWay = announced.catch(() => undefined);
    return { keys, announced };
  }

  /** Never rejects. Nobody waits for it. */
  async function prepare(keys: readonly string[], now: Date): Promise<void> {
    if (keys.length === 0) return;
    const writers = await open(keys);
    coming -= keys.length;
    // Their files may be there, under names that nobody could open again: all that goes with their rows.
    if (!writers) return;
    const places = keys.map((key, index) => ({ key, announcedAt: now.getTime(), opened: writers[index] }));
    ready.push(...places);
    if (writers.length > 0) setTimeout(() => places.forEach(shut), KEEP_OPEN_MS).unref();
  }

  /** No place any more, for its file is being taken away; its row is left to the sweeper. */
  function shut(place: Ready): void {
    const index = ready.indexOf(place);
    if (index < 0) return;
    ready.splice(index, 1);
    void place.opened?.abort();
  }

  function dropOld(now: Date): void {
    const isOld = ({ announcedAt }: Ready) =>
      announcedAt > now.getTime() || announcedAt < now.getTime() - MAX_AGE_MS;
    for (const place of ready.filter(isOld)) shut(place);
  }

  return {
    /** Counts one more. True: a ready place is left for it, until it settles. */
    expect(now: Date): boolean {
      const need = measureNeed(1);
      if (missing() > need / 2) next ??= begin(now);
      dropOld(now);
      if (ready.length <= expected) return false;
      expected += 1;
      return true;
    },
    settle(): void {
      expected -= 1;
    },
    take(now: Date): Place | undefined {
      dropOld(now);
      return ready.shift();
    },
    announce(now: Date) {
      next ??= begin(now);
      const key = newUpdateKey(now);
      next.keys.push(key);
      return { key, announced: next.announced };
    },
  };
}

/**
 * Counts, and tells how many to have ahead: none unless there are many in a second. What there was before is forgotten by
 * half each second: bursts come again, as rounds do.
 */
function createGauge(): (more: number) => number {
  let since = performance.now();
  let before = 0;
  let counted = 0;
  return (more) => {
    const elapsed = performance.now() - since;
    if (elapsed > WINDOW_MS) {
      const windows = Math.floor(elapsed / WINDOW_MS);
      before = Math.max(counted, before / 2) / 2 ** (windows - 1);
      counted = 0;
      since += windows * WINDOW_MS;
    }
    counted += more;
    const ahead = Math.floor(Math.max(before, counted) * AHEAD);
    return ahead < LEAST_AHEAD ? 0 : Math.min(MOST_AHEAD, ahead);
  };
}
