import { sql } from 'drizzle-orm';
import { index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import type { Manifest } from '../../domain/manifest.ts';
import type { Metrics } from '../../domain/metrics.ts';
import { bytes, federation, instant } from './columns.ts';

export const GONE_STATES = ['dead', 'abandoned'] as const;
type GoneState = (typeof GONE_STATES)[number];

/**
 * `writing` before the bytes are written, `live` in the transaction that refers to them. Before they go `dead`, or `abandoned`:
 * nothing was heard of it for too long, and its writer may write still.
 */
export const blobs = pgTable(
  'blobs',
  {
    key: text('key').primaryKey(),
    state: text('state').$type<'writing' | 'live' | GoneState>().notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [index('blobs_unsettled').on(t.state, t.createdAt).where(sql`${t.state} <> 'live'`)],
);

export const models = pgTable(
  'models',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    name: text('name').notNull(),
    description: text('description').notNull(),
    manifest: jsonb('manifest').$type<Manifest>().notNull(),
    parameters: bytes('parameters').notNull(),
    /** The explicit pointer: a version's number, moved by compare-and-set. */
    head: integer('head'),
    evaluationKey: text('evaluation_key'),
    evaluationDigest: text('evaluation_digest'),
    evaluationExamples: integer('evaluation_examples'),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [uniqueIndex('models_name').on(t.federationId, t.name)],
);

export const modelVersions = pgTable(
  'model_versions',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    version: integer('version').notNull(),
    federationId: federation(),
    parent: integer('parent'),
    roundId: uuid('round_id'),
    /** SHA-256 of the weight file, hex. */
    digest: text('digest').notNull(),
    bytes: bytes('bytes').notNull(),
    blobKey: text('blob_key').notNull(),
    /** What the updates of its round reported, averaged by examples. */
    metrics: jsonb('metrics').$type<Metrics>().notNull(),
    /** What the server measured on the model's evaluation set. */
    score: jsonb('score').$type<Metrics>(),
    /** What the last evaluate round measured on the devices. */
    deviceScore: jsonb('device_score').$type<Metrics>(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.modelId, t.version] }),
    uniqueIndex('model_versions_round').on(t.roundId),
    index('model_versions_digest').on(t.modelId, t.digest),
    index('model_versions_unscored').on(t.modelId, t.version).where(sql`${t.score} is null`),
  ],
);
