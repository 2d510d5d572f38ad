import type { Deps } from '../deps.ts';
import { forgetEnrollmentTokens } from '../store/identity/enrollment-tokens.ts';
import { forgetEvents } from '../store/journal/events.ts';
import { forgetKeys } from '../store/journal/idempotency.ts';
import { forgetAssertions, forgetBlobs, listGoneBlobs, markAbandonedBlobs } from '../store/models/sweeps.ts';
import { forgetReports } from '../store/releases/reports.ts';
import { releaseExpired, releaseOverQuota } from '../store/rounds/retained-updates.ts';
import { removeExpiredUploads } from '../store/rounds/uploads.ts';
import { unlessPaused } from '../store/sweep-lock.ts';
import { isUpdateKey } from './rounds/update-keys.ts';

const HOUR_MS = 3_600_000;
/** No write takes so long (an upload is cut after 50 minutes): who began earlier is gone. */
export const ABANDONED_AFTER_MS = HOUR_MS;
export const IDEMPOTENCY_KEY_MS = 24 * HOUR_MS;
/** Tokens that nobody has used are of no interest so long after their end. */
export const ENROLLMENT_TOKEN_MS = 30 * 24 * HOUR_MS;
const BATCH = 200;
/** A sweep that finds more leaves it to the next one. */
const MAX_BATCHES = 50;

/** What a sweep removed. */
export interface SweepReport {
  abandoned: number;
  blobs: number;
  temporary: number;
  uploads: number;
  assertions: number;
  idempotencyKeys: number;
  retainedUpdates: number;
  enrollmentTokens: number;
  events: number;
  reports: number;
}

/**
 * Removes what nothing refers to: unfinished and retired blobs, expired uploads with their parts, expired assertions,
 * old idempotency keys, temporary objects of writers that died; and what is kept for a while alone: retained updates,
 * events, reports on versions, enrolment tokens that nobody has used. The audit log stays. Never a live blob: a row is
 * marked before its bytes are deleted. Any number of workers may sweep at once.
 */
export async function sweepBlobs(deps: Deps): Promise<SweepReport> {
  const { pool } = deps.db;
  const now = deps.clock.now();
  const abandonedBefore = new Date(now.getTime() - ABANDONED_AFTER_MS);
  const keysBefore = new Date(now.getTime() - IDEMPOTENCY_KEY_MS);
  const eventsBefore = new Date(now.getTime() - deps.config.eventDays * 24 * HOUR_MS);
  const tokensBefore = new Date(now.getTime() - ENROLLMENT_TOKEN_MS);
  return {
    uploads: await inBatches(() => deps.db.transaction((tx) => removeExpiredUploads(tx, now, BATCH))),
    retainedUpdates: await releaseRetained(deps, now),
    abandoned: await inBatches(() => markAbandonedBlobs(pool, abandonedBefore, BATCH)),
    blobs: await inBatches(async () => (await unlessPaused(deps.db, () => deleteGoneBlobs(deps))) ?? 0),
    temporary: await deps.blobs.sweepTemporary(abandonedBefore),
    assertions: await inBatches(() => forgetAssertions(pool, now, BATCH)),
    idempotencyKeys: await inBatches(() => forgetKeys(pool, keysBefore)),
    enrollmentTokens: await inBatches(() => forgetEnrollmentTokens(pool, tokensBefore, BATCH)),
    events: await inBatches(() => forgetEvents(pool, eventsBefore, BATCH)),
    reports: await inBatches(() => forgetReports(pool, eventsBefore, BATCH)),
  };
}

async function releaseRetained({ db, config }: Deps, now: Date): Promise<number> {
  const expired = await inBatches(() => db.transaction((tx) => releaseExpired(tx, now, BATCH)));
  const quota = config.retainedUpdateBytes;
  return expired + (await inBatches(() => db.transaction((tx) => releaseOverQuota(tx, quota, BATCH))));
}

/** Bytes first, row last: a sweeper that dies in between finds the row again. */
async function deleteGoneBlobs({ db, blobs, failpoint }: Deps): Promise<number> {
  const gone = await listGoneBlobs(db.pool, BATCH);
  for (const { key, state } of gone) {
    await blobs.delete(key, { spare: state === 'dead' && isUpdateKey(key) });
  }
  await failpoint('sweep.before_forget');
  await forgetBlobs(
    db.pool,
    gone.map(({ key }) => key),
  );
  return gone.length;
}

async function inBatches(removeSome: () => Promise<number>): Promise<number> {
  let removed = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const some = await removeSome();
    removed += some;
    if (some < BATCH) break;
  }
  return removed;
}
