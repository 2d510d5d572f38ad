/**
 * Mends packages after their installation, where a fault of theirs would take the server down and no released version
 * is without it. Each edit names the exact text that it replaces: another version of the package fails the set-up
 * until somebody has looked whether the edit is still needed.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The driver keeps things of a connection that has closed. A write that was scheduled is never made, nor any later one:
 * the connection's successors do not say a word, for ever. Queries that came between an error and the close are never
 * answered. What a refusal says to the next query ("too many clients", "starting up") goes to the last one. And where a
 * connection is closed before it is ready, as by proxies whose server is away, it is tried again without end or pause.
 * Here nothing is kept, and callers are rejected with what the server said, or with CONNECTION_CLOSED; of several
 * hosts, the next is tried as before.
 */
const closedConnections = [
  {
    file: 'postgres/src/connection.js',
    find: `    clearImmediate(nextWriteTimer)
    socket.removeListener('data', data)`,
    replace: `    clearImmediate(nextWriteTimer)
    nextWriteTimer = chunk = null
    socket.removeListener('data', data)`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `    if (initial)
      return reconnect()

    !hadError && (query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))
`,
    replace: `    if (initial && options.host.length > 1)
      return reconnect()

    ;(initial || query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))
    query = results = errorResponse = null
    result = new Result()
`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `        return fetchArrayTypes()
`,
    replace: `        return fetchArrayTypes().catch(() => {})
`,
  },
];

/**
 * The driver goes on to use a connection that has closed under a transaction or a reservation (its pull requests 1168
 * and 1209): the next query throws from a timer, which ends the process, or runs outside of its transaction on the
 * connection's successor. Here such a query is rejected with CONNECTION_CLOSED.
 */
const postgres = [
  {
    file: 'postgres/src/connection.js',
    find: `  function nextWrite(fn) {
    const x = socket.write(chunk, fn)`,
    replace: `  function nextWrite(fn) {
    if (!socket) {
      nextWriteTimer !== null && clearImmediate(nextWriteTimer)
      chunk = nextWriteTimer = null
      error(Errors.connection('CONNECTION_CLOSED', options))
      return true
    }
    const x = socket.write(chunk, fn)`,
  },
  {
    file: 'postgres/src/index.js',
    find: `    const sql = Sql(handler)
    sql.release = () => {
      c.reserved = null
      onopen(c)
    }

    return sql

    function handler(q) {
      c.queue === full`,
    replace: `    let lost
    c.onclose = e => {
      lost = e
      while (queue.length) queue.shift().reject(e)
    }
    const sql = Sql(handler)
    sql.release = () => {
      if (lost) return
      c.onclose = c.reserved = null
      onopen(c)
    }

    return sql

    function handler(q) {
      if (lost) return q.reject(lost)
      c.queue === full`,
  },
  {
    file: 'postgres/src/index.js',
    find: `    let savepoints = 0
      , connection
      , prepare = null`,
    replace: `    let savepoints = 0
      , connection
      , lost
      , prepare = null`,
  },
  {
    file: 'postgres/src/index.js',
    find: `        new Promise((_, reject) => connection.onclose = reject)`,
    replace: `        new Promise((_, reject) => connection.onclose = e => {
          lost = e
          while (queries.length) queries.shift().reject(e)
          reject(e)
        })`,
  },
  {
    file: 'postgres/src/index.js',
    find: `        q.catch(e => uncaughtError || (uncaughtError = e))
        c.queue === full`,
    replace: `        q.catch(e => uncaughtError || (uncaughtError = e))
        if (lost) return q.reject(lost)
        c.queue === full`,
  },
  ...closedConnections,
];

const edits = [...postgres];

/** Whether every edit is in place of a package that is installed. */
export function isPatched(modules) {
  return installed(modules).every(({ file, replace }) =>
    readFileSync(join(modules, file), 'utf8').includes(replace),
  );
}

/** Makes the edits that are not in place yet. */
export function applyPatches(modules) {
  for (const { file, find, replace } of installed(modules)) {
    const path = join(modules, file);
    const text = readFileSync(path, 'utf8');
    if (text.includes(replace)) continue;
    if (!text.includes(find)) {
      throw new Error(
        `${file} has changed: see in scripts/patches.mjs whether the edit of it is still needed`,
      );
    }
    writeFileSync(
      `${path}.new`,
      text.replace(find, () => replace),
    );
    renameSync(`${path}.new`, path);
  }
}

function installed(modules) {
  return edits.filter(({ file }) => existsSync(join(modules, file)));
}
