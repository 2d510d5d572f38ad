import { existsSync, renameSync, statSync } from 'node:fs';
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino';
import type { Config } from './config.ts';

const MAX_FILE_BYTES = 16 << 20;

const secretFields = [
  'authorization',
  'cookie',
  'secret',
  'password',
  'token',
  'enrollmentToken',
  'accessToken',
];

/** What a log never shows, wherever it is within the first levels of an entry. */
const redact = secretFields.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

export interface Log {
  log: Logger;
  /** Writes what is still in memory. */
  flush(): void;
}

/**
 * JSON lines to `file`, or to standard error. Secrets are redacted, and the values of a failed query are cut off its
 * error.
 */
export function createLog({ logLevel }: Pick<Config, 'logLevel'>, file?: string): Log {
  if (file !== undefined) moveAway(file);
  const destination = pino.destination({ dest: file ?? 2, sync: false, mode: 0o600, mkdir: true });
  return { log: createLogger(logLevel, destination), flush: () => destination.flushSync() };
}

/** The same, to any destination. */
export function createLogger(level: Config['logLevel'], destination: DestinationStream): Logger {
  return pino({ level, base: null, redact, serializers: { err: serializeError } }, destination);
}

function moveAway(file: string): void {
  if (existsSync(file) && statSync(file).size > MAX_FILE_BYTES) renameSync(file, `${file}.1`);
}

/** The type, message, code and stack of an error and of its causes; never the values that a query was given. */
function serializeError(error: Error & { code?: unknown }): unknown {
  if (!(error instanceof Error)) return error;
  const { type, message, stack } = stdSerializers.err(error);
  return { type, code: error.code, message: withoutValues(message), stack: withoutValues(stack ?? '') };
}

function withoutValues(text: string): string {
  return text.replace(/\nparams: [\s\S]*?(?=\n {4}at |\ncaused by|$)/g, '');
}
