import { setTimeout as sleep } from 'node:timers/promises';
import { connectionTo, type LocalConnection, startLocalDatabase } from './local-database.ts';
import { DataFolderInUseError } from './owner.ts';
import { placeDatabase } from './placement.ts';
import { readPostmaster } from './postmaster.ts';

const PATIENCE_MS = 10_000;
const LOOK_MS = 50;

/** The database of a data folder for a program that is not its server: the running one, else one that is started. */
export async function visitLocalDatabase(
  dataDir: string,
): Promise<{ connection: LocalConnection; leave(): Promise<void> }> {
  for (let waited = 0; ; waited += LOOK_MS) {
    try {
      const database = await startLocalDatabase({ dataDir });
      return { connection: database.connection, leave: () => database.stop() };
    } catch (error) {
      if (!(error instanceof DataFolderInUseError)) throw error;
      const { data } = await placeDatabase(dataDir);
      const server = await readPostmaster(data);
      if (server?.status === 'ready') return { connection: connectionTo(server), leave: async () => {} };
      // Its owner starts or ends it at the moment.
      if (waited >= PATIENCE_MS) throw error;
      await sleep(LOOK_MS);
    }
  }
}
