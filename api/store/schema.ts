import { sql } from 'drizzle-orm';
import {
  bigint,
  bigserial,
  boolean,
  check,
  doublePrecision,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import type { DeviceProperties, DeviceState, KeyState, Labels } from '../domain/device.ts';
import type { Manifest } from '../domain/manifest.ts';
import type { Metrics } from '../domain/metrics.ts';
import type { Role } from '../domain/role.ts';
import type { AssignmentState, RoundKind, RoundState, UpdateState } from '../domain/round.ts';
import type { RunSettings, RunState } from '../domain/run.ts';

const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' });
const federation = () => text('federation_id').notNull();
const bytes = (name: string) => bigint(name, { mode: 'number' });

export const federations = pgTable('federations', {
  id: text('id').primaryKey(),
  createdAt: instant('created_at').notNull(),
});

/** Secrets of operators, enrolment tokens included, are stored as SHA-256 (hex) only. */
export const operatorKeys = pgTable(
  'operator_keys',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    name: text('name').notNull(),
    role: text('role').$type<Role>().notNull(),
    secretHash: text('secret_hash').notNull(),
    createdAt: instant('created_at').notNull(),
    revokedAt: instant('revoked_at'),
  },
  (t) => [uniqueIndex('operator_keys_secret').on(t.secretHash)],
);

export const enrollmentTokens = pgTable(
  'enrollment_tokens',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    name: text('name').notNull(),
    secretHash: text('secret_hash').notNull(),
    labels: jsonb('labels').$type<Labels>().notNull(),
    requiresApproval: boolean('requires_approval').notNull(),
    maxUses: integer('max_uses').notNull(),
    uses: integer('uses').notNull().default(0),
    expiresAt: instant('expires_at').notNull(),
    createdAt: instant('created_at').notNull(),
    revokedAt: instant('revoked_at'),
  },
  (t) => [uniqueIndex('enrollment_tokens_secret').on(t.secretHash)],
);

export const devices = pgTable(
  'devices',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    name: text('name').notNull(),
    state: text('state').$type<DeviceState>().notNull(),
    labels: jsonb('labels').$type<Labels>().notNull(),
    properties: jsonb('properties').$type<DeviceProperties>().notNull(),
    enrollmentTokenId: uuid('enrollment_token_id').references(() => enrollmentTokens.id),
    createdAt: instant('created_at').notNull(),
    approvedAt: instant('approved_at'),
    revokedAt: instant('revoked_at'),
    lastSeenAt: instant('last_seen_at'),
  },
  (t) => [
    index('devices_present').on(t.federationId, t.state, t.lastSeenAt),
    index('devices_page').on(t.federationId, t.id),
  ],
);

/** A key belongs to one device for ever: a revoked or replaced key can never enrol again. */
export const deviceKeys = pgTable(
  'device_keys',
  {
    federationId: federation(),
    thumbprint: text('thumbprint').notNull(),
    deviceId: uuid('device_id')
      .notNull()
      .references(() => devices.id),
    jwk: jsonb('jwk').$type<Record<string, string>>().notNull(),
    state: text('state').$type<KeyState>().notNull(),
    createdAt: instant('created_at').notNull(),
    firstUsedAt: instant('first_used_at'),
  },
  (t) => [
    primaryKey({ columns: [t.federationId, t.thumbprint] }),
    index('device_keys_device').on(t.deviceId),
  ],
);

/** The `jti`s of assertions and proofs, until they expire: none is taken twice (RFC 7523 section 3). */
export const usedAssertions = pgTable(
  'used_assertions',
  {
    thumbprint: text('thumbprint').notNull(),
    jti: text('jti').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.thumbprint, t.jti] }), index('used_assertions_expiry').on(t.expiresAt)],
);

/** `writing` before the bytes are written, `live` in the transaction that refers to them, `dead` before they go. */
export const blobs = pgTable(
  'blobs',
  {
    key: text('key').primaryKey(),
    state: text('state').$type<'writing' | 'live' | 'dead'>().notNull(),
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
    index('model_versions_unscored').on(t.modelId, t.version).where(sql`${t.score} is null`),
  ],
);

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

/** A round's folder. `fence` grows with every holder; a write that carries an older one matches no row. */
export const leases = pgTable('leases', {
  roundId: uuid('round_id')
    .primaryKey()
    .references(() => rounds.id),
  holder: text('holder').notNull(),
  fence: bytes('fence').notNull(),
  expiresAt: instant('expires_at').notNull(),
});

/** The accumulator of a round after its first `sequence` updates. */
export const checkpoints = pgTable('checkpoints', {
  roundId: uuid('round_id')
    .primaryKey()
    .references(() => rounds.id),
  sequence: integer('sequence').notNull(),
  blobKey: text('blob_key').notNull(),
  /** SHA-256 of the blob, hex. */
  digest: text('digest').notNull(),
});

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
    bytes: bytes('bytes').notNull(),
    blobKey: text('blob_key').notNull(),
    numExamples: bytes('num_examples').notNull(),
    weight: doublePrecision('weight').notNull(),
    norm: doublePrecision('norm').notNull(),
    scalars: jsonb('scalars').$type<Record<string, number>>().notNull(),
    metrics: jsonb('metrics').$type<Metrics>().notNull(),
    receivedAt: instant('received_at').notNull(),
  },
  (t) => [uniqueIndex('updates_sequence').on(t.roundId, t.sequence)],
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

/** A resumable upload; its parts are blobs, in order, and their bytes sum up to `offset`. */
export const uploads = pgTable(
  'uploads',
  {
    id: uuid('id').primaryKey(),
    federationId: federation(),
    assignmentId: uuid('assignment_id')
      .notNull()
      .references(() => assignments.id),
    deviceId: uuid('device_id').notNull(),
    digest: text('digest').notNull(),
    bytes: bytes('bytes').notNull(),
    offset: bytes('offset').notNull().default(0),
    complete: boolean('complete').notNull().default(false),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (t) => [index('uploads_expiry').on(t.expiresAt)],
);

export const uploadParts = pgTable(
  'upload_parts',
  {
    uploadId: uuid('upload_id').notNull(),
    start: bytes('start').notNull(),
    bytes: bytes('bytes').notNull(),
    blobKey: text('blob_key').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.uploadId, t.start] }),
    foreignKey({ columns: [t.uploadId], foreignColumns: [uploads.id] }).onDelete('cascade'),
  ],
);

/** What happened, for watchers. A row has no position until one appender has numbered it after its commit. */
export const events = pgTable(
  'events',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    position: bytes('position'),
    federationId: federation(),
    type: text('type').notNull(),
    subject: jsonb('subject').$type<Record<string, string | number>>().notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (t) => [
    uniqueIndex('events_position').on(t.position),
    index('events_unnumbered').on(t.id).where(sql`${t.position} is null`),
  ],
);

/** Who did what, hash-chained: `hash` covers the entry and the hash before it. Numbered like events. */
export const auditEntries = pgTable(
  'audit_entries',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    position: bytes('position'),
    federationId: federation(),
    actor: text('actor').notNull(),
    action: text('action').notNull(),
    target: text('target').notNull(),
    details: jsonb('details').$type<Record<string, unknown>>().notNull(),
    createdAt: instant('created_at').notNull(),
    previousHash: text('previous_hash'),
    hash: text('hash'),
  },
  (t) => [
    uniqueIndex('audit_position').on(t.position),
    index('audit_unnumbered').on(t.id).where(sql`${t.position} is null`),
  ],
);

/** The first answer to an operator's POST, for its repeats (draft-ietf-httpapi-idempotency-key-header). */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    federationId: federation(),
    principal: text('principal').notNull(),
    key: text('key').notNull(),
    requestHash: text('request_hash').notNull(),
    /** Names the request that works under the key now. Another one takes it over when this one has died. */
    claim: uuid('claim').notNull(),
    claimedAt: instant('claimed_at').notNull(),
    /** Set in the transaction that the request's effect committed with. */
    effectAt: instant('effect_at'),
    /** The first answer, encrypted with a key that only the caller's credentials give. */
    answer: text('answer'),
  },
  (t) => [
    primaryKey({ columns: [t.federationId, t.principal, t.key] }),
    index('idempotency_age').on(t.claimedAt),
  ],
);
