import { sql } from 'drizzle-orm';
import {
  check,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import type { Metrics } from '../../domain/metrics.ts';
import type { AssignmentState, RoundKind, RoundState, UpdateState } from '../../domain/round.ts';
import type { RunSettings, RunState } from '../../domain/run.ts';
import { bytes, federation, instant } from './columns.ts';
import { devices } from './identity.ts';
import { models } from './models.ts';

export const runs = pgTable(
  'runs',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    name: text('name').notNull(),
    modelId: uuid('model_id')
      .notNull()
      .references(() => models.id),
    state: text('state').$type<RunState>().notNull(),
    settings: jsonb('settings').$type<RunSettings>().notNull(),
    /** Train rounds published, failed in a row, and opened. */
    completedRounds: integer('completed_rounds').notNull().default(0),
    failedInARow: integer('failed_in_a_row').notNull().default(0),
    lastRound: integer('last_round').notNull().default(0),
    endAt: instant('end_at'),
    reason: text('reason'),
    createdAt: instant('created_at').notNull(),
    endedAt: instant('ended_at'),
  },
  (t) => [
    uniqueIndex('runs_one_a_model').on(t.modelId).where(sql`${t.state} in ('active', 'paused')`),
    index('runs_active').on(t.state).where(sql`${t.state} in ('active', 'paused')`),
    index('runs_page').on(t.federationId, t.id),
  ],
);

export const rounds = pgTable(
  'rounds',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    runId: uuid('run_id')
      .notNull()
      .references(() => runs.id),
    modelId: uuid('model_id').notNull(),
    kind: text('kind').$type<RoundKind>().notNull(),
    number: integer('number').notNull(),
    state: text('state').$type<RoundState>().notNull(),
    /** The version that the cohort trains from, or evaluates. */
    baseVersion: integer('base_version').notNull(),
    /** The version that the round published. */
    version: integer('version'),
    seed: integer('seed').notNull(),
    quorum: integer('quorum').notNull(),
    capacity: integer('capacity').notNull(),
    /** How many assignments the round aims at, how many it has made, how many of those are open. */
    target: integer('target').notNull().default(0),
    invited: integer('invited').notNull().default(0),
    openAssignments: integer('open_assignments').notNull().default(0),
    /** Updates accepted; the last one's sequence. */
    accepted: integer('accepted').notNull().default(0),
    /** Assignments that got no answer although there was time: given back, revoked, open at the deadline. */
    dropped: integer('dropped').notNull().default(0),
    population: integer('population').notNull().default(0),
    reason: text('reason'),
    metrics: jsonb('metrics').$type<Metrics>(),
    openedAt: instant('opened_at').notNull(),
    /** Until then the round pends for its quorum. */
    pendingUntil: instant('pending_until').notNull(),
    collectingAt: instant('collecting_at'),
    deadlineAt: instant('deadline_at'),
    closedAt: instant('closed_at'),
    endedAt: instant('ended_at'),
  },
  (t) => [
    uniqueIndex('rounds_number').on(t.runId, t.kind, t.number),
    uniqueIndex('rounds_one_open')
      .on(t.runId, t.kind)
      .where(sql`${t.state} in ('pending', 'collecting', 'aggregating')`),
    index('rounds_open').on(t.state).where(sql`${t.state} in ('pending', 'collecting', 'aggregating')`),
    check('rounds_capacity', sql`${t.accepted} <= ${t.capacity}`),
    check('rounds_assignments', sql`${t.openAssignments} >= 0`),
  ],
);

export const assignments = pgTable(
  'assignments',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    roundId: uuid('round_id')
      .notNull()
      .references(() => rounds.id),
    deviceId: uuid('device_id')
      .notNull()
      .references(() => devices.id),
    kind: text('kind').$type<RoundKind>().notNull(),
    state: text('state').$type<AssignmentState>().notNull(),
    reason: text('reason'),
    createdAt: instant('created_at').notNull(),
    settledAt: instant('settled_at'),
  },
  (t) => [
    uniqueIndex('assignments_one_open').on(t.deviceId, t.kind).where(sql`${t.state} = 'open'`),
    uniqueIndex('assignments_device').on(t.roundId, t.deviceId),
  ],
);

export const updates = pgTable(
  'updates',
  {
    assignmentId: uuid('assignment_id')
      .primaryKey()
      .references(() => assignments.id),
    federationId: federation(),
    roundId: uuid('round_id')
      .notNull()
      .references(() => rounds.id),
    deviceId: uuid('device_id').notNull(),
    sequence: integer('sequence').notNull(),
    state: text('state').$type<UpdateState>().notNull(),
    reason: text('reason'),
    /** SHA-256 of the file as it was sent, hex. */
    digest: text('digest').notNull(),
    /** Secret: what the file is held against when it is folded (api/kernels/seals.ts). Never shown. */
    seal: text('seal').notNull(),
    bytes: bytes('bytes').notNull(),
    blobKey: text('blob_key').notNull(),
    numExamples: bytes('num_examples').notNull(),
    weight: doublePrecision('weight').notNull(),
    norm: doublePrecision('norm').notNull(),
    scalars: jsonb('scalars').$type<Record<string, number>>().notNull(),
    metrics: jsonb('metrics').$type<Metrics>().notNull(),
    receivedAt: instant('received_at').notNull(),
    /** Its file is kept after its round, until then at most. Null: it is not. */
    retainedUntil: instant('retained_until'),
  },
  (t) => [
    uniqueIndex('updates_sequence').on(t.roundId, t.sequence),
    index('updates_device').on(t.deviceId),
    index('updates_retained').on(t.federationId, t.retainedUntil).where(sql`${t.retainedUntil} is not null`),
  ],
);

export const evaluations = pgTable(
  'evaluations',
  {
    assignmentId: uuid('assignment_id')
      .primaryKey()
      .references(() => assignments.id),
    federationId: federation(),
    roundId: uuid('round_id').notNull(),
    numExamples: bytes('num_examples').notNull(),
    metrics: jsonb('metrics').$type<Metrics>().notNull(),
    receivedAt: instant('received_at').notNull(),
  },
  (t) => [index('evaluations_round').on(t.roundId)],
);
