import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { recordEvent } from '../journal/events.ts';
import { settleBlob } from '../models/blob-rows.ts';
import { models, modelVersions, rounds, runs, updates } from '../schema.ts';
import { retainUpdateBlobs } from './retained-updates.ts';
import { dropFold, type RoundRow, retireUpdateBlobs } from './round-locks.ts';

export interface Publication {
  blobKey: string;
  digest: string;
  bytes: number;
  metrics: Metrics;
  /** Null: the updates' files are not kept. */
  retainedUntil: Date | null;
  now: Date;
}

/** The base version's file. */
export async function findVersionFile(q: Queryable, modelId: string, version: number) {
  const rows = await q
    .select({ blobKey: modelVersions.blobKey, digest: modelVersions.digest, bytes: modelVersions.bytes })
    .from(modelVersions)
    .where(and(eq(modelVersions.modelId, modelId), eq(modelVersions.version, version)));
  return rows[0];
}

/** What the updates that count reported. */
export function listReports(q: Queryable, roundId: string) {
  return q
    .select({ metrics: updates.metrics, numExamples: updates.numExamples })
    .from(updates)
    .where(and(eq(updates.roundId, roundId), eq(updates.state, 'accepted')))
    .orderBy(updates.sequence);
}

/**
 * Publishes a round's version: version, head, round, updates, run and event move together. The caller holds the locks
 * of run, round and lease. `head_moved`: nothing was written. `blob_swept`: nothing may be committed.
 */
export async function publishVersion(
  tx: Queryable,
  round: RoundRow,
  publication: Publication,
): Promise<'published' | 'head_moved' | 'blob_swept'> {
  const { blobKey, digest, bytes, metrics, now } = publication;
  const version = await moveHead(tx, round);
  if (version === undefined) return 'head_moved';
  const { id: roundId, modelId, federationId, baseVersion: parent } = round;
  // Sent at once, carried out in this order.
  const [isLive] = await Promise.all([
    settleBlob(tx, blobKey),
    tx.insert(modelVersions).values({
      modelId,
      version,
      federationId,
      parent,
      roundId,
      digest,
      bytes,
      blobKey,
      metrics,
      createdAt: now,
    }),
    completeRound(tx, round, version, publication),
    dropFold(tx, roundId),
  ]);
  return isLive ? 'published' : 'blob_swept';
}

/** Compare-and-set: the head is still the round's base. Versions are gapless: the next number follows the last one. */
async function moveHead(tx: Queryable, round: RoundRow): Promise<number | undefined> {
  const rows = await tx
    .update(models)
    .set({
      head: sql`(select max(${modelVersions.version}) + 1 from ${modelVersions} where ${modelVersions.modelId} = ${round.modelId})`,
    })
    .where(and(eq(models.id, round.modelId), eq(models.head, round.baseVersion)))
    .returning({ head: models.head });
  return rows[0]?.head ?? undefined;
}

async function completeRound(
  tx: Queryable,
  { federationId, runId, id, kind, number }: RoundRow,
  version: number,
  { metrics, retainedUntil, now }: Publication,
): Promise<void> {
  await Promise.all([
    tx
      .update(updates)
      .set({ state: 'folded' })
      .where(and(eq(updates.roundId, id), eq(updates.state, 'accepted'))),
    tx.update(rounds).set({ state: 'completed', version, metrics, endedAt: now }).where(eq(rounds.id, id)),
    tx
      .update(runs)
      .set({ completedRounds: sql`${runs.completedRounds} + 1`, failedInARow: 0 })
      .where(eq(runs.id, runId)),
    retainedUntil ? retainUpdateBlobs(tx, id, retainedUntil) : retireUpdateBlobs(tx, id),
    recordEvent(tx, {
      federationId,
      type: 'round.completed',
      subject: { run: runId, round: id, kind, number, version },
      createdAt: now,
    }),
    notify(tx, channels.work),
    notify(tx, channels.events),
  ]);
}

/** The oldest version that is to be scored on its model's evaluation set and was not. */
export async function findUnscoredVersion(q: Queryable) {
  const rows = await q
    .select({
      modelId: models.id,
      federationId: models.federationId,
      model: models.name,
      version: modelVersions.version,
      blobKey: modelVersions.blobKey,
      digest: modelVersions.digest,
      manifest: models.manifest,
      evaluationKey: models.evaluationKey,
      evaluationDigest: models.evaluationDigest,
    })
    .from(modelVersions)
    .innerJoin(models, eq(models.id, modelVersions.modelId))
    .where(
      and(
        isNull(modelVersions.score),
        sql`${models.evaluationKey} is not null`,
        sql`${models.manifest} -> 'architecture' is not null`,
      ),
    )
    .orderBy(modelVersions.createdAt, modelVersions.version)
    .limit(1);
  return rows[0];
}

export type UnscoredVersion = NonNullable<Awaited<ReturnType<typeof findUnscoredVersion>>>;

/**
 * Sets a version's score, once, if the evaluation set is still the one that it was measured on. An empty score says that
 * it could not be measured.
 */
export async function setScore(
  tx: Queryable,
  version: UnscoredVersion,
  score: Metrics,
  now: Date,
): Promise<void> {
  const sameSet = tx
    .select({ id: models.id })
    .from(models)
    .where(and(eq(models.id, version.modelId), eq(models.evaluationKey, version.evaluationKey!)))
    // Whoever replaces the set resets the score afterwards: shut out until this is committed.
    .for('key share');
  if ((await sameSet).length === 0) return;
  const rows = await tx
    .update(modelVersions)
    .set({ score })
    .where(
      and(
        eq(modelVersions.modelId, version.modelId),
        eq(modelVersions.version, version.version),
        isNull(modelVersions.score),
      ),
    )
    .returning({ version: modelVersions.version });
  if (rows.length === 0) return;
  await recordEvent(tx, {
    federationId: version.federationId,
    type: 'version.scored',
    subject: { model: version.model, version: version.version, ...score },
    createdAt: now,
  });
  await notify(tx, channels.events);
}
