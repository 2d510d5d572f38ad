import { boolean, foreignKey, index, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { bytes, federation, instant } from './columns.ts';
import { assignments } from './rounds.ts';

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
