import { createInterface } from 'node:readline';
import { DataFolderInUseError, startLocalDatabase } from '../../api/store/local/local-database.ts';

// A process that owns the embedded database of the folder given as its argument, with PostgreSQL settings as JSON after
// it: prints one line of JSON, stops when its standard input ends, exits without stopping on the line "exit".

try {
  const [dataDir = '', given = '{}'] = process.argv.slice(2);
  const settings = { fsync: 'off', ...JSON.parse(given) };
  const database = await startLocalDatabase({ dataDir, settings });
  const { connection, adopted } = database;
  process.stdout.write(`${JSON.stringify({ connection, adopted })}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line === 'exit') process.exit();
  });
  lines.on('close', () => database.stop());
} catch (error) {
  const pid = error instanceof DataFolderInUseError ? error.pid : undefined;
  process.stdout.write(`${JSON.stringify({ error: (error as Error).message, pid })}\n`);
}
