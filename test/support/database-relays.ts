import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { LocalConnection } from '../../api/store/local/local-database.ts';

/** What stands between a pool and its database, and what it does with a connection that comes. */
export interface DatabaseRelay {
  connection: LocalConnection;
  mode: 'relay' | 'close' | 'refuse' | 'silent';
  /** Ends what is open, in order. */
  cut(): void;
  /** From now on nothing passes, and nobody is told; what is open then never hears anything again. */
  silence(): void;
  close(): Promise<void>;
}

/** As PostgreSQL says it where all of its connections are taken. */
const refusal = (() => {
  const fields = Buffer.from('SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0');
  const head = Buffer.from('E\0\0\0\0');
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
})();

export async function startDatabaseRelay(target: LocalConnection): Promise<DatabaseRelay> {
  const { host, port } = target;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    near.on('error', () => near.destroy());
    near.on('close', () => open.delete(near));
    open.add(near);
    if (relay.mode === 'close') return near.resume().end();
    if (relay.mode === 'silent') return near.pause();
    if (relay.mode === 'refuse') return near.once('data', () => near.end(refusal));
    const far = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    near.on('close', () => far.destroy());
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
    near.on('silence', () => {
      for (const one of [near, far]) one.unpipe().pause();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay: DatabaseRelay = {
    connection: { ...target, host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    mode: 'relay',
    cut() {
      for (const near of open) near.end();
    },
    silence() {
      relay.mode = 'silent';
      for (const near of open) near.emit('silence');
    },
    async close() {
      for (const near of open) near.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return relay;
}
