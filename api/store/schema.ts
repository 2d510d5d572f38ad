/** Every table. A change here needs a migration: `npm run migrations -- NAME`. */
export * from './schema/aggregation.ts';
export * from './schema/identity.ts';
export * from './schema/journal.ts';
export * from './schema/models.ts';
export * from './schema/releases.ts';
export * from './schema/rounds.ts';
export * from './schema/uploads.ts';
