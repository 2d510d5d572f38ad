/** Root: `backup --to FILE` and `restore --from FILE`, for the embedded form and every other one. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openBlobs, openFederationBlobs } from './bootstrap.ts';
import { ConfigError, loadConfig } from './config.ts';
import { runProcess, StartError } from './process.ts';
import { BackupError, type BackupReport, backUp, restore } from './services/backups.ts';
import { openDatabase } from './store/database.ts';
import { visitLocalDatabase } from './store/local/visits.ts';
import { migrateDatabase } from './store/migrate.ts';

const help = `FedEdge backup: the database, the blobs and the keys, in one file.

  npm run backup -- --to FILE [--data-dir FOLDER]
  npm run restore -- --from FILE [--data-dir FOLDER]

A backup can be made while servers and workers run. It is restored into an empty data folder, or an empty database
(DATABASE_URL), before the first server starts there. Settings come from the environment, as for npm start.`;

await runProcess(async () => {
  const [command, ...args] = process.argv.slice(2);
  const isRestore = command === 'restore';
  const values = readOptions(args);
  const path = isRestore ? values.from : values.to;
  if (values.help || path === undefined) return console.log(help);
  const config = loadConfig({
    ...process.env,
    ...(values['data-dir'] && { FEDEDGE_DATA_DIR: values['data-dir'] }),
  });
  const dataDir = resolve(config.dataDir);
  await mkdir(dataDir, { recursive: true });
  await using resources = new AsyncDisposableStack();
  const visit = config.databaseUrl === undefined ? await visitLocalDatabase(dataDir) : undefined;
  resources.defer(() => visit?.leave());
  const target = visit?.connection ?? config.databaseUrl!;
  if (isRestore) await migrateDatabase(target);
  const db = openDatabase(target, { connections: 4 });
  resources.defer(() => db.close());
  const work = isRestore ? restore : backUp;
  const settings = { ...config, dataDir };
  const none = async () => {};
  // Before a restore there is no federation whose blobs they could be.
  const blobs = isRestore ? openBlobs(settings, none) : openFederationBlobs(settings, db, none);
  const deps = { db, blobs, dataDir };
  const report = await work(deps, resolve(path)).catch((error: unknown) => {
    throw error instanceof BackupError ? new StartError(error.message, { cause: error }) : error;
  });
  console.log(describe(isRestore ? 'restored' : 'backed up', report));
});

function readOptions(args: string[]) {
  const text = { type: 'string' } as const;
  const options = { to: text, from: text, 'data-dir': text, help: { type: 'boolean', short: 'h' } } as const;
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new ConfigError([(error as Error).message]);
  }
}

function describe(done: string, { tables, blobs, bytes }: BackupReport): string {
  return `${done}: ${tables} tables, ${blobs} blobs, ${(bytes / 1e6).toFixed(1)} MB`;
}
