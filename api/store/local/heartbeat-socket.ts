import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { connect, createServer } from 'node:net';

/**
 * A socket in `folder` that answers as long as this process lives. It tells the living from the dead where pids
 * cannot: between containers that share a volume. Linux only; elsewhere it does nothing.
 */
export async function listenWhileAlive(folder: string, name: string): Promise<{ close(): Promise<void> }> {
  if (process.platform !== 'linux') return { close: async () => {} };
  return await throughShortPath(folder, async (short) => {
    const server = createServer((socket) => socket.destroy());
    server.listen(`${short}/${name}`);
    await once(server, 'listening');
    server.unref();
    return {
      close: async () => {
        server.close();
        await once(server, 'close');
      },
    };
  });
}

/** Whether a process listens on the socket that `listenWhileAlive` made. */
export async function answers(folder: string, name: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  return await throughShortPath(folder, async (short) => {
    const socket = connect(`${short}/${name}`);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(1000) });
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  });
}

/** Socket paths end at 107 bytes; a data folder may lie deeper, so it is named by a descriptor. */
async function throughShortPath<T>(folder: string, use: (short: string) => Promise<T>): Promise<T> {
  const handle = await open(folder);
  try {
    return await use(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}
