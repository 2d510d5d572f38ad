import postgres from 'postgres';
import type { Connection, Database } from './database.ts';

/** 15.0, as PostgreSQL numbers it. */
const LEAST_VERSION = 150_000;
const CONNECT_SECONDS = 5;

export interface DatabaseFacts {
  version: string;
  /** What FedEdge cannot work with. */
  faults: string[];
  /** Database time minus ours, ms. */
  skewMs: number;
  maxConnections: number;
}

/** Whether this process brings the database to its schema; who does not needs fewer rights. */
interface Use {
  migrates: boolean;
}

/** What an external database has to be; one query. */
export async function examineDatabase(
  client: Database['client'],
  { migrates }: Use = { migrates: true },
): Promise<DatabaseFacts> {
  const sentAt = Date.now();
  const [row] = await client<
    [
      {
        number: number;
        version: string;
        standby: boolean;
        encoding: string;
        creates: boolean;
        now: number;
        max: number;
      },
    ]
  >`
    select current_setting('server_version_num')::int as number, current_setting('server_version') as version,
      pg_is_in_recovery() as standby, current_setting('server_encoding') as encoding,
      has_database_privilege(current_database(), 'CREATE') and
        coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false) as creates,
      (extract(epoch from clock_timestamp()) * 1000)::float8 as now,
      current_setting('max_connections')::int as max`;
  const { number, version, standby, encoding, creates, now, max } = row;
  const faults = [
    number < LEAST_VERSION && `PostgreSQL is version ${version}: 15 or newer is needed`,
    standby && 'the database is a standby: FedEdge reads and writes the primary',
    encoding !== 'UTF8' && `the database's encoding is ${encoding}, not UTF8`,
    migrates &&
      !creates &&
      'the user may not create schemas and tables: grant create on database and on schema public',
  ].filter((fault) => fault !== false);
  return { version, faults, skewMs: now - (sentAt + Date.now()) / 2, maxConnections: max };
}

/** The same, with a connection of its own. Rejects if the database cannot be reached within 5 s. */
export async function examineTarget(target: string | Connection, use?: Use): Promise<DatabaseFacts> {
  const settings = { max: 1, connect_timeout: CONNECT_SECONDS, onnotice: () => undefined };
  const client =
    typeof target === 'string' ? postgres(target, settings) : postgres({ ...target, ...settings });
  try {
    return await examineDatabase(client, use);
  } finally {
    await client.end({ timeout: 1 });
  }
}
