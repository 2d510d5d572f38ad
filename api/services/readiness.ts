import type { Deps } from '../deps.ts';
import { BlobStoreMissingError } from '../store/blobs/marked-blobs.ts';
import { pingDatabase } from '../store/database.ts';
import { readSchemaState } from '../store/migrate.ts';

const TIMEOUT_MS = 2000;
const CACHE_MS = 1000;

/**
 * `behind`: the database's schema is older than this server. `ahead`: a newer version has taken away what this one needs.
 * `missing`: what is there is not the federation's store.
 */
export type CheckResult = 'ok' | 'failed' | 'timeout' | 'behind' | 'ahead' | 'missing';
export type Readiness = Record<'database' | 'schema' | 'blobs', CheckResult>;

type ReadinessDeps = Pick<Deps, 'db' | 'blobs' | 'clock' | 'log'>;

/** Asks the parts that the server needs, for all who ask within a second once. It answers within 2 s. */
export function createReadiness(deps: ReadinessDeps): () => Promise<Readiness> {
  let asked: { at: number; answer: Promise<Readiness> } | undefined;
  return () => {
    const at = deps.clock.now().getTime();
    if (!asked || at - asked.at >= CACHE_MS) asked = { at, answer: checkParts(deps) };
    return asked.answer;
  };
}

async function checkParts({ db, blobs, log }: ReadinessDeps): Promise<Readiness> {
  const guard = async (part: keyof Readiness, check: () => Promise<CheckResult>): Promise<CheckResult> => {
    try {
      return await withTimeout(check());
    } catch (error) {
      log.warn({ err: error, part }, 'not ready');
      return error instanceof BlobStoreMissingError ? 'missing' : 'failed';
    }
  };
  const [database, schema, blobStore] = await Promise.all([
    guard('database', () => pingDatabase(db).then(() => 'ok')),
    guard('schema', () => readSchemaState(db)),
    guard('blobs', () => blobs.check().then(() => 'ok')),
  ]);
  return { database, schema, blobs: blobStore };
}

async function withTimeout(check: Promise<CheckResult>): Promise<CheckResult> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'timeout'>((resolve) => {
    timer = setTimeout(resolve, TIMEOUT_MS, 'timeout');
  });
  try {
    return await Promise.race([check, late]);
  } finally {
    clearTimeout(timer);
  }
}
