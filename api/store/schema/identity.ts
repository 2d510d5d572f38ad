import { sql } from 'drizzle-orm';
import {
  boolean,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import type { DeviceProperties, DeviceState, KeyState, Labels } from '../../domain/device.ts';
import type { Role } from '../../domain/role.ts';
import { federation, instant } from './columns.ts';

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
    /** An operator asked to erase it; done, once its rounds are over, at `erasedAt`. */
    eraseRequestedAt: instant('erase_requested_at'),
    erasedAt: instant('erased_at'),
    lastSeenAt: instant('last_seen_at'),
  },
  (t) => [
    index('devices_present').on(t.federationId, t.state, t.lastSeenAt),
    index('devices_page').on(t.federationId, t.id),
    index('devices_to_erase')
      .on(t.id)
      .where(sql`${t.eraseRequestedAt} is not null and ${t.erasedAt} is null`),
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
