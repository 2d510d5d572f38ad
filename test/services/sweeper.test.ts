import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ABANDONED_AFTER_MS, IDEMPOTENCY_KEY_MS, sweepBlobs } from '../../api/services/sweeper.ts';
import { reserveBlob, retireBlobs, settleBlob } from '../../api/store/models/blob-rows.ts';
import { markAbandonedBlobs } from '../../api/store/models/sweeps.ts';
import { blobs, idempotencyKeys, usedAssertions } from '../../api/store/schema.ts';
import { SweepLockLostError, whileSweepersPause } from '../../api/store/sweep-lock.ts';
import { createTestApp, type TestApp } from '../support/app.ts';

let test: TestApp;
let next = 0;
beforeAll(async () => {
  test = await createTestApp();
});
afterAll(() => test.close());
beforeEach(async () => {
  await test.deps.db.pool.delete(blobs);
});

const key = () => `test/${++next}`;
const minutes = (count: number) => count * 60_000;

async function write(blobKey: string): Promise<void> {
  const writer = await test.deps.blobs.create(blobKey);
  await writer.write(new Uint8Array(10));
  await writer.commit();
}

/** A blob that was announced `ageMs` ago, written, and left in this state. */
async function blobOf(
  state: 'writing' | 'live' | 'dead',
  ageMs: number,
  blobKey: string = key(),
): Promise<string> {
  const { pool } = test.deps.db;
  await reserveBlob(pool, blobKey, new Date(test.clock.now().getTime() - ageMs));
  await write(blobKey);
  if (state === 'live') await settleBlob(pool, blobKey);
  if (state === 'dead') await retireBlobs(pool, [blobKey]);
  return blobKey;
}

const stateOf = async (blobKey: string) => {
  const rows = await test.deps.db.pool.select().from(blobs).where(eq(blobs.key, blobKey));
  return { row: rows[0]?.state, stored: (await test.deps.blobs.size(blobKey)) !== undefined };
};

describe('blobs', () => {
  it('go when they are dead, or were never settled; all others stay', async () => {
    const gone = [await blobOf('dead', 0), await blobOf('writing', ABANDONED_AFTER_MS + 1)];
    const young = await blobOf('writing', ABANDONED_AFTER_MS - minutes(1));
    const live = [await blobOf('live', 0), await blobOf('live', ABANDONED_AFTER_MS * 100)];
    expect(await sweepBlobs(test.deps)).toMatchObject({ abandoned: 1, blobs: 2 });
    for (const blobKey of gone) expect(await stateOf(blobKey)).toEqual({ row: undefined, stored: false });
    for (const blobKey of live) expect(await stateOf(blobKey)).toEqual({ row: 'live', stored: true });
    expect(await stateOf(young)).toEqual({ row: 'writing', stored: true });
  });

  it('stay while a backup is being made', async () => {
    const gone = await blobOf('dead', 0);
    await whileSweepersPause(test.deps.db, async () => {
      expect(await sweepBlobs(test.deps)).toMatchObject({ blobs: 0 });
      expect(await stateOf(gone)).toEqual({ row: 'dead', stored: true });
    });
    expect(await sweepBlobs(test.deps)).toMatchObject({ blobs: 1 });
    expect(await stateOf(gone)).toEqual({ row: undefined, stored: false });
  });

  it('stay while a backup is being made, which fails if it cannot know that they did', async () => {
    const { db } = test.deps;
    const endLock = () => db.client`
        select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and mode = 'ExclusiveLock'
          and database = (select oid from pg_database where datname = current_database()) and pid <> pg_backend_pid()`;
    const backup = whileSweepersPause(db, async () => {
      await endLock();
      return 'made';
    });
    await expect(backup).rejects.toThrow(SweepLockLostError);
    // What failed for this is told as well.
    const fault = new Error('a blob was missing');
    const failed = whileSweepersPause(db, () => endLock().then(() => Promise.reject(fault)));
    await expect(failed).rejects.toMatchObject({ name: 'SweepLockLostError', cause: fault });
    expect(await whileSweepersPause(db, async () => 'made')).toBe('made');
    await expect(whileSweepersPause(db, () => Promise.reject(new Error('injected')))).rejects.toThrow(
      'injected',
    );
  });

  it('that were announced and never written go too', async () => {
    const blobKey = key();
    await reserveBlob(
      test.deps.db.pool,
      blobKey,
      new Date(test.clock.now().getTime() - ABANDONED_AFTER_MS - 1),
    );
    await sweepBlobs(test.deps);
    expect(await stateOf(blobKey)).toEqual({ row: undefined, stored: false });
  });

  it('of updates leave a file to be used again, unless their writer may only be slow', async () => {
    using remove = vi.spyOn(test.deps.blobs, 'delete').mockResolvedValue();
    const retired = await blobOf('dead', ABANDONED_AFTER_MS * 2, `update/${key()}`);
    const abandoned = await blobOf('writing', ABANDONED_AFTER_MS + 1, `update/${key()}`);
    const another = await blobOf('dead', 0, `version/${key()}`);
    await sweepBlobs(test.deps);
    const spare = Object.fromEntries(remove.mock.calls.map(([name, options]) => [name, options?.spare]));
    expect(spare).toEqual({ [retired]: true, [abandoned]: false, [another]: false });
  });

  it('that were abandoned are never taken for others, by whatever clock they are deleted', async () => {
    using remove = vi.spyOn(test.deps.blobs, 'delete');
    const abandoned = await blobOf('writing', 0, `update/${key()}`);
    const later = new Date(test.clock.now().getTime() + ABANDONED_AFTER_MS);
    expect(await markAbandonedBlobs(test.deps.db.pool, later, 10)).toBe(1);
    await sweepBlobs(test.deps);
    expect(remove.mock.calls).toEqual([[abandoned, { spare: false }]]);
    expect(await stateOf(abandoned)).toEqual({ row: undefined, stored: false });
  });

  it('cannot be settled once they are given up', async () => {
    const blobKey = await blobOf('writing', ABANDONED_AFTER_MS + 1);
    await sweepBlobs(test.deps);
    expect(await settleBlob(test.deps.db.pool, blobKey)).toBe(false);
  });

  it('are settled or swept, never both, when both happen at once', async () => {
    const keys = await Promise.all(
      Array.from({ length: 40 }, () => blobOf('writing', ABANDONED_AFTER_MS + 1)),
    );
    const { deps: replica } = await test.replica();
    const [settled] = await Promise.all([
      Promise.all(keys.map((blobKey) => settleBlob(test.deps.db.pool, blobKey))),
      sweepBlobs(replica),
      sweepBlobs(test.deps),
    ]);
    await sweepBlobs(test.deps);
    for (const [index, blobKey] of keys.entries()) {
      const expected = settled[index] ? { row: 'live', stored: true } : { row: undefined, stored: false };
      expect(await stateOf(blobKey)).toEqual(expected);
    }
  });

  it('are swept by several workers at once, in more than one batch', async () => {
    const now = test.clock.now();
    const rows = Array.from({ length: 450 }, () => ({ key: key(), state: 'dead' as const, createdAt: now }));
    await test.deps.db.pool.insert(blobs).values(rows);
    const { deps: replica } = await test.replica();
    await Promise.all([sweepBlobs(test.deps), sweepBlobs(replica)]);
    expect(await test.deps.db.pool.select().from(blobs)).toEqual([]);
  });

  it('whose sweeper died after deleting the bytes go with the next one', async () => {
    const blobKey = await blobOf('dead', 0);
    const dying = { ...test.deps, failpoint: () => Promise.reject(new Error('killed')) };
    await expect(sweepBlobs(dying)).rejects.toThrow('killed');
    expect(await stateOf(blobKey)).toEqual({ row: 'dead', stored: false });
    await sweepBlobs(test.deps);
    expect(await stateOf(blobKey)).toEqual({ row: undefined, stored: false });
  });
});

it('forgets assertions and idempotency keys that have expired, and no others', async () => {
  const { pool } = test.deps.db;
  const at = (ms: number) => new Date(test.clock.now().getTime() + ms);
  await pool.insert(usedAssertions).values([
    { thumbprint: 't', jti: 'old', expiresAt: at(-1) },
    { thumbprint: 't', jti: 'new', expiresAt: at(minutes(1)) },
  ]);
  const keyed = {
    federationId: 'default',
    principal: 'operator:x',
    requestHash: 'h',
    claim: crypto.randomUUID(),
  };
  await pool.insert(idempotencyKeys).values([
    { ...keyed, key: 'old', claimedAt: at(-IDEMPOTENCY_KEY_MS - 1) },
    { ...keyed, key: 'new', claimedAt: at(-IDEMPOTENCY_KEY_MS + minutes(1)) },
  ]);
  expect(await sweepBlobs(test.deps)).toMatchObject({ assertions: 1, idempotencyKeys: 1 });
  expect(await pool.select({ jti: usedAssertions.jti }).from(usedAssertions)).toEqual([{ jti: 'new' }]);
  expect(await pool.select({ key: idempotencyKeys.key }).from(idempotencyKeys)).toEqual([{ key: 'new' }]);
});

it('removes temporary objects of writers that died, and leaves those at work', async () => {
  const writer = await test.deps.blobs.create(key());
  await writer.write(new Uint8Array(10));
  // Temporary files carry the system's time.
  test.clock.advance(Date.now() - test.clock.now().getTime());
  expect(await sweepBlobs(test.deps)).toMatchObject({ temporary: 0 });
  test.clock.advance(ABANDONED_AFTER_MS + minutes(1));
  expect(await sweepBlobs(test.deps)).toMatchObject({ temporary: 1 });
  await writer.abort();
});
