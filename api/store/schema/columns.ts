import { bigint, text, timestamp } from 'drizzle-orm/pg-core';

export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' });
export const federation = () => text('federation_id').notNull();
export const bytes = (name: string) => bigint(name, { mode: 'number' });
