import { parseArgs } from 'node:util';
import { ConfigError } from './config.ts';

const options = {
  host: { type: 'string' },
  port: { type: 'string' },
  'data-dir': { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

const help = `FedEdge server. Without DATABASE_URL it runs its own database in the data folder.

  npm start -- [options]

  --host HOST        address to listen on (FEDEDGE_HOST, 127.0.0.1)
  --port PORT        port to listen on, 0 for any free one (FEDEDGE_PORT, 8080)
  --data-dir FOLDER  where everything is kept (FEDEDGE_DATA_DIR, .data)
  --json             print one JSON object when ready; log to standard error
  --help             print this

Every setting of the environment is in the README.`;

export type CommandLine =
  | { kind: 'help'; text: string }
  | { kind: 'start'; json: boolean; env: Record<string, string | undefined> };

/** Reads the options of `npm start`; they go before the environment. Throws ConfigError. */
export function readCommandLine(args: string[], env: Record<string, string | undefined>): CommandLine {
  const values = parse(args);
  if (values.help) return { kind: 'help', text: help };
  const given = {
    FEDEDGE_HOST: values.host,
    FEDEDGE_PORT: values.port,
    FEDEDGE_DATA_DIR: values['data-dir'],
  };
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { kind: 'start', json: values.json ?? false, env: { ...env, ...Object.fromEntries(set) } };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new ConfigError([`${(error as Error).message} (npm start -- --help lists the options)`]);
  }
}
