import { sql } from 'drizzle-orm';
import { index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import type { Metrics } from '../../domain/metrics.ts';
import type { ReleaseDocument, ReleaseOutcome, ReleaseState } from '../../domain/release.ts';
import { bytes, federation, instant } from './columns.ts';
import { devices } from './identity.ts';
import { models } from './models.ts';
import { runs } from './rounds.ts';

/** One row for each content that a model's release file ever had. It may be there before its model. */
export const releases = pgTable(
  'releases',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    model: text('model').notNull(),
    /** SHA-256 of the canonical JSON of the document as it was written, hex. */
    contentHash: text('content_hash').notNull(),
    document: jsonb('document').$type<ReleaseDocument>().notNull(),
    state: text('state').$type<ReleaseState>().notNull(),
    outcome: text('outcome').$type<ReleaseOutcome>(),
    reason: text('reason'),
    step: integer('step').notNull().default(0),
    stepSince: instant('step_since'),
    version: integer('version'),
    digest: text('digest'),
    previous: integer('previous'),
    /** How often it was changed: a decision made from one revision moves no other, even in the same state and step. */
    revision: integer('revision').notNull().default(0),
    createdAt: instant('created_at').notNull(),
    /** When its content became the active one, the last time. */
    activatedAt: instant('activated_at').notNull(),
  },
  (t) => [
    uniqueIndex('releases_content').on(t.federationId, t.model, t.contentHash),
    uniqueIndex('releases_one_a_model').on(t.federationId, t.model).where(sql`${t.state} <> 'superseded'`),
    index('releases_page').on(t.federationId, t.id),
  ],
);

/** How a version does on a device; the last report counts. */
export const releaseReports = pgTable(
  'release_reports',
  {
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    version: integer('version').notNull(),
    deviceId: uuid('device_id')
      .notNull()
      .references(() => devices.id),
    federationId: federation(),
    numExamples: bytes('num_examples').notNull(),
    metrics: jsonb('metrics').$type<Metrics>().notNull(),
    receivedAt: instant('received_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.modelId, t.version, t.deviceId] }),
    index('release_reports_device').on(t.deviceId),
    index('release_reports_age').on(t.receivedAt),
  ],
);

/** A run file of the catalog and the run that came of it. */
export const catalogRuns = pgTable(
  'catalog_runs',
  {
    federationId: federation(),
    name: text('name').notNull(),
    contentHash: text('content_hash').notNull(),
    /** The last run that was made of it. */
    runId: uuid('run_id').references(() => runs.id),
    /** When the next one is due. Null: none is. */
    dueAt: instant('due_at'),
  },
  (t) => [primaryKey({ columns: [t.federationId, t.name] }), index('catalog_runs_run').on(t.runId)],
);

/** What the last look at a federation's catalog found. */
export const catalogs = pgTable('catalogs', {
  federationId: federation().primaryKey(),
  readAt: instant('read_at').notNull(),
  faults: jsonb('faults').$type<{ file: string; message: string }[]>().notNull(),
  /** Run files that hold, whose runs cannot begin yet. */
  waiting: jsonb('waiting').$type<{ file: string; message: string }[]>().notNull().default([]),
});
