import { dirname, join } from 'node:path';
import { drizzle } from 'drizzle-orm/postgres-js';
import type postgres from 'postgres';
import type { Deps } from '../../../api/deps.ts';
import { toFedEdgeError } from '../../../api/http/contract/problems.ts';
import {
  type BlobBytes,
  type BlobStore,
  BlobUnavailableError,
  type BlobWriter,
  blobBytes,
} from '../../../api/store/blobs/blob-store.ts';
import { keepStatements } from '../../../api/store/prepared-statements.ts';
import * as schema from '../../../api/store/schema.ts';

/** Whether what failed had its effect. */
export const faultModes = ['before it takes effect', 'after it took effect'] as const;
type FaultMode = (typeof faultModes)[number];

/** Dependencies of which one call of the database or the blob store fails. */
export interface FaultyDeps {
  deps: Deps;
  /** The nth call from now on fails, counted from 1. */
  arm(n: number, mode: FaultMode): void;
  /** No call fails any longer. Tells which one did; undefined: there were fewer. */
  disarm(): string | undefined;
}

/**
 * What a client or a worker does after an outage: the same again. Any other error is thrown: a fault of the database or
 * the blob store may lead to nothing else.
 */
async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (toFedEdgeError(error as Error).code !== 'unavailable' || attempt === 5) throw error;
    }
  }
}

/**
 * Plays a story again and again, each time with the next of its calls failing, until none is left. The story does what
 * it does undisturbed by itself, and by `disturbed` what is to be repeated until it is done. Tells which calls failed.
 */
export async function failEach(
  faulty: FaultyDeps,
  mode: FaultMode,
  story: (disturbed: <T>(work: () => Promise<T>) => Promise<T>, what: string) => Promise<void>,
): Promise<string[]> {
  const failed: string[] = [];
  for (let n = 1; ; n += 1) {
    let which: string | undefined;
    const disturbed = async <T>(work: () => Promise<T>) => {
      faulty.arm(n, mode);
      const result = await untilDone(work);
      which = faulty.disarm();
      return result;
    };
    await story(disturbed, `after a fault of call ${n}, ${mode}`);
    if (which === undefined) return failed;
    failed.push(which);
  }
}

interface Trigger {
  /** Counts a call. Throws, or returns what to do when it has had its effect. */
  pass(what: string, fail: () => Error): () => void;
}

export function createFaultyDeps(deps: Deps): FaultyDeps {
  let armed: { left: number; mode: FaultMode } | undefined;
  let failed: string | undefined;
  const trigger: Trigger = {
    pass(what, fail) {
      if (!armed) return () => undefined;
      armed.left -= 1;
      if (armed.left !== 0) return () => undefined;
      failed = what;
      if (armed.mode === 'before it takes effect') throw fail();
      return () => {
        throw fail();
      };
    },
  };
  const pool = drizzle(keepStatements(failingDriver(deps.db.client, trigger)), { schema });
  const db: Deps['db'] = {
    ...deps.db,
    pool,
    transaction: (work) => pool.transaction(work),
    run: (statement) => failingRun(deps.db, statement, trigger),
  };
  return {
    deps: { ...deps, db, blobs: failingBlobs(deps.blobs, trigger) },
    arm(n, mode) {
      armed = { left: n, mode };
      failed = undefined;
    },
    disarm() {
      armed = undefined;
      return failed;
    },
  };
}

const cutOff = () => Object.assign(new Error('injected'), { code: 'CONNECTION_CLOSED' });

async function failingRun(db: Deps['db'], statement: Parameters<Deps['db']['run']>[0], trigger: Trigger) {
  const failAfter = trigger.pass(statement.text.trim().slice(0, 60), cutOff);
  const rows = await db.run(statement);
  failAfter();
  return rows;
}

/** Every query counts, and the beginning and the end of every transaction. */
function failingDriver<S extends postgres.Sql | postgres.TransactionSql>(sql: S, trigger: Trigger): S {
  const failing = {
    unsafe: (...query: Parameters<postgres.Sql['unsafe']>) => failingQuery(sql, query, trigger),
    async begin(work: (tx: postgres.TransactionSql) => Promise<unknown>) {
      trigger.pass('begin', cutOff)();
      let failAfter = () => {};
      const result = await (sql as postgres.Sql).begin(async (tx) => {
        const done = await work(failingDriver(tx, trigger));
        failAfter = trigger.pass('commit', cutOff);
        return done;
      });
      failAfter();
      return result;
    },
  };
  return new Proxy(sql, {
    get: (target, name) =>
      name in failing ? failing[name as keyof typeof failing] : Reflect.get(target, name),
  });
}

/** As lazy as the driver's own: it is sent when somebody waits for it. */
function failingQuery(
  sql: postgres.Sql | postgres.TransactionSql,
  query: Parameters<postgres.Sql['unsafe']>,
  trigger: Trigger,
) {
  const send = async (asValues: boolean) => {
    const failAfter = trigger.pass(query[0].slice(0, 60), cutOff);
    const pending = sql.unsafe(...query);
    const rows = await (asValues ? pending.values() : pending);
    failAfter();
    return rows;
  };
  return {
    values: () => send(true),
    // biome-ignore lint/suspicious/noThenProperty: it stands for the driver's query, which is a thenable.
    then: (...handlers: Parameters<Promise<unknown>['then']>) => send(false).then(...handlers),
  };
}

const out = () => new BlobUnavailableError('injected');

function failingBlobs(blobs: BlobStore, trigger: Trigger): BlobStore {
  async function call<T>(what: string, work: () => Promise<T>): Promise<T> {
    const failAfter = trigger.pass(what, out);
    const result = await work();
    failAfter();
    return result;
  }
  const failingWriter = (writer: BlobWriter): BlobWriter => ({
    get bytes() {
      return writer.bytes;
    },
    write: (chunk) => call('write', () => writer.write(chunk)),
    commit: () => call('commit of a blob', () => writer.commit()),
    abort: () => writer.abort(),
  });
  return {
    ...blobs,
    async create(key, options) {
      const failAfter = trigger.pass('create', out);
      const writer = await blobs.create(key, options);
      try {
        failAfter();
      } catch (error) {
        await writer.abort();
        throw error;
      }
      return failingWriter(writer);
    },
    read: (key, range) => failingBytes(blobs.read(key, range), trigger),
    size: (key) => call('size', () => blobs.size(key)),
    delete: (...request) => call('delete', () => blobs.delete(...request)),
  };
}

/** Every chunk counts, and so does a file as a whole where there is one: others may read that by its path. */
function failingBytes(bytes: BlobBytes, trigger: Trigger): BlobBytes {
  const { path } = bytes;
  const chunks = failingChunks(bytes, trigger);
  if (path === undefined) return blobBytes(chunks);
  let failAfter: () => void;
  try {
    failAfter = trigger.pass('read of a file', out);
  } catch (error) {
    // No file can be opened below a file.
    return blobBytes(brokenChunks(error), join(path, 'out'));
  }
  try {
    failAfter();
    return blobBytes(chunks, path);
  } catch (error) {
    // A folder can be opened, but not be read.
    return blobBytes(brokenChunks(error), dirname(path));
  }
}

async function* failingChunks(bytes: BlobBytes, trigger: Trigger): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    const failAfter = trigger.pass('read', out);
    yield chunk;
    failAfter();
  }
}

// biome-ignore lint/correctness/useYield: it fails before it has anything to give.
async function* brokenChunks(error: unknown): AsyncGenerator<Uint8Array> {
  throw error;
}
