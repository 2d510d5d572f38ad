import { integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { bytes, instant } from './columns.ts';
import { rounds } from './rounds.ts';

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
