/** Root: brings the database to this version's schema, and ends. For those who start with FEDEDGE_MIGRATE=off. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { loadConfig } from './config.ts';
import { createLog } from './logging.ts';
import { outlastOutage } from './patience.ts';
import { runProcess, StartError } from './process.ts';
import { visitLocalDatabase } from './store/local/visits.ts';
import { migrateDatabase } from './store/migrate.ts';
import { examineTarget } from './store/requirements.ts';

await runProcess(async (stopping) => {
  const config = loadConfig(process.env);
  await using resources = new AsyncDisposableStack();
  const { log, flush } = createLog(config);
  resources.defer(flush);
  await outlastOutage(
    async () => {
      if (config.databaseUrl === undefined) return migrateLocal(resolve(config.dataDir));
      const { faults } = await examineTarget(config.databaseUrl);
      if (faults.length > 0) throw new StartError(`DATABASE_URL: ${faults.join('; ')}`);
      return migrateDatabase(config.databaseUrl);
    },
    { log, stopping },
  );
  console.log("The database has this version's schema.");
});

async function migrateLocal(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  const visit = await visitLocalDatabase(dataDir);
  try {
    return await migrateDatabase(visit.connection);
  } finally {
    await visit.leave();
  }
}
