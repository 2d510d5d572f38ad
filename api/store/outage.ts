import { BlobUnavailableError } from './blobs/blob-store.ts';

const CONNECTION_CODES = new Set([
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOENT',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
]);
/** PostgreSQL classes: connection exception, insufficient resources, operator intervention, system error. */
const OUTAGE_CLASSES = new Set(['08', '53', '57', '58']);
/** Read-only (a demoted primary), idle for too long in it, lock timeout, deadlock, serialization: a repeat may succeed. */
const PASSING_STATES = new Set(['25006', '25P03', '55P03', '40P01', '40001']);

/** A prepared statement that a pooler or a migration has made useless: the driver prepares the next one anew. */
const STALE_STATEMENTS = new Set(['FetchPreparedStatement', 'RevalidateCachedQuery']);

/** True if a part that we depend on failed, so that the same request may succeed later. */
export function isOutage(error: unknown): boolean {
  if (error instanceof BlobUnavailableError) return true;
  if (!(error instanceof Error)) return false;
  const { code, routine } = error as { code?: unknown; routine?: unknown };
  if (STALE_STATEMENTS.has(routine as string)) return true;
  if (typeof code === 'string') {
    if (CONNECTION_CODES.has(code) || PASSING_STATES.has(code)) return true;
    if (code.length === 5 && OUTAGE_CLASSES.has(code.slice(0, 2))) return true;
  }
  return error.cause !== undefined && isOutage(error.cause);
}
