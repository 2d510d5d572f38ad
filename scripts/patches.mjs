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

/**
 * The driver forgets who waits for a connection of his own when another one closes: the one that is opened in its place
 * was to be his, and is given to nobody. Here it is his; a reservation after the end is refused, as a query is.
 */
const reservations = [
  {
    file: 'postgres/src/connection.js',
    find: `      if (needsTypes) {
        initial.reserve && (initial = null)
        return`,
    replace: `      if (needsTypes) {
        return`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `      initial && !initial.reserve && execute(initial)
      options.shared.retries = retries = 0
      initial = null
      return
`,
    replace: `      const first = initial
      options.shared.retries = retries = 0
      initial = null
      first.reserve
        ? (silenceTimer.cancel(), first.reserve(connection))
        : execute(first)
      return
`,
  },
  {
    file: 'postgres/src/index.js',
    find: `        queries.push(query)
        closed.length && connect(closed.shift(), query)
`,
    replace: `        ending
          ? reject(Errors.connection('CONNECTION_ENDED', options, options))
          : closed.length
            ? connect(closed.shift(), query)
            : queries.push(query)
`,
  },
];

/**
 * The driver sends a prepared statement again that the server has forgotten or cannot plan any longer. In a transaction
 * that is of no use, since it has failed; and a statement that was on its way on a connection that a transaction has got
 * since would run inside of that one. Here such an error is told.
 */
const retries = [
  {
    file: 'postgres/src/connection.js',
    find: `          : query.prepared && retryRoutines.has(errorResponse.routine)
            ? retry(query, errorResponse)
            : errored(errorResponse)
`,
    replace: `          : query.prepared && retryRoutines.has(errorResponse.routine)
            ? connection.reserved
              ? (delete statements[query.signature], errored(errorResponse))
              : retry(query, errorResponse)
            : errored(errorResponse)
`,
  },
];

/**
 * The driver waits without end for the answer to a query: where the database vanishes without a word (a partition, a
 * frozen machine) it is the kernel that gives up, after a quarter of an hour. With `silence_timeout` (seconds) a
 * connection that was asked and says nothing for so long is closed. What the pool has not sent yet is rejected with it,
 * and idle connections, which would be the next to be waited for, are closed too. Where connections cannot be made, and
 * none is left, what waits for one is rejected as well, instead of one query for each that times out.
 */
const silentConnections = [
  {
    file: 'postgres/src/connection.js',
    find: `{ onopen = noop, onend = noop, onclose = noop } = {}) {`,
    replace: `{ onopen = noop, onend = noop, onclose = noop, onlost = noop } = {}) {`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `      , connectTimer = timer(connectTimedOut, options.connect_timeout)
`,
    replace: `      , connectTimer = timer(connectTimedOut, options.connect_timeout)
      , silenceTimer = timer(silent, options.silence_timeout)
`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `    terminate,
    execute,
`,
    replace: `    terminate,
    drop,
    execute,
`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `        : (query = q, query.active = true)

      build(q)`,
    replace: `        : (query = q, query.active = true, silenceTimer.start())

      build(q)`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `  function connectTimedOut() {
    errored(Errors.connection('CONNECT_TIMEOUT', options, socket))
    socket.destroy()
  }
`,
    replace: `  function connectTimedOut() {
    const e = Errors.connection('CONNECT_TIMEOUT', options, socket)
    onlost(connection, e)
    errored(e)
    socket.destroy()
  }

  function silent() {
    const e = Errors.connection('ETIMEDOUT', options, socket)
    onlost(connection, e)
    error(e)
    drop()
  }

  function drop() {
    socket && socket.destroy()
  }
`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `  function data(x) {
    if (incomings) {`,
    replace: `  function data(x) {
    query && silenceTimer.start()
    if (incomings) {`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `      return // Consider opening if able and sent.length < 50
`,
    replace: `      return // Consider opening if able and sent.length < 50

    silenceTimer.cancel()
`,
  },
  {
    file: 'postgres/src/connection.js',
    find: `    lifeTimer.cancel()
    connectTimer.cancel()
`,
    replace: `    lifeTimer.cancel()
    connectTimer.cancel()
    silenceTimer.cancel()
`,
  },
  {
    file: 'postgres/src/index.js',
    find: `Connection(options, queues, { onopen, onend, onclose }))`,
    replace: `Connection(options, queues, { onopen, onend, onclose, onlost }))`,
  },
  {
    file: 'postgres/src/index.js',
    find: `  function onclose(c, e) {
`,
    replace: `  function onlost(c, e) {
    if (e.code === 'ETIMEDOUT') {
      c.queue === busy && move(c, full)
      for (let i = open.length; i > 0; i--)
        open.shift().drop()
    } else if (open.length + busy.length + full.length + reserved.length > 0)
      return
    while (queries.length)
      queries.shift().reject(e)
  }

  function onclose(c, e) {
`,
  },
  {
    file: 'postgres/src/index.js',
    find: `    socket          : o.socket,
`,
    replace: `    socket          : o.socket,
    silence_timeout : o.silence_timeout,
`,
  },
];

const edits = [...postgres, ...silentConnections, ...reservations, ...retries];

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
