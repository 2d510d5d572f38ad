import { sql } from 'drizzle-orm';
import { bigserial, index, jsonb, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { bytes, federation, instant } from './columns.ts';

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
