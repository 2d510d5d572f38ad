import { sql } from 'drizzle-orm';
import { expect, it } from 'vitest';
import { openDatabase } from '../../api/store/database.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { createTestDatabase } from '../support/postgres.ts';

it('ends sessions that stay idle in a transaction, so that a frozen process keeps no locks', async () => {
  const test = await createTestDatabase({ migrate: migrateDatabase });
  const db = openDatabase(test.connection, { connections: 1 });
  const [row] = await db.pool.execute<{ ms: string }>(
    sql`select setting as ms from pg_settings where name = 'idle_in_transaction_session_timeout'`,
  );
  expect(Number(row!.ms)).toBe(30_000);
  await db.close();
  await test.drop();
});
