import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A network between a service and something that it needs, which does what a test says. */
export interface Wire {
  readonly port: number;
  /** Every piece is under way for so long; 0: as it comes. */
  delay(ms: number): void;
  /** Nothing passes any longer, and nobody is told, until `resume`. */
  hold(): void;
  resume(): void;
  close(): Promise<void>;
}

/** Relays to a Unix socket. */
export async function startWire(target: string): Promise<Wire> {
  const sockets = new Set<Socket>();
  let delayMs = 0;
  let passes: Promise<void> = Promise.resolve();
  let resume = () => {};

  async function carry(from: Socket, to: Socket): Promise<void> {
    for await (const piece of from) {
      await passes;
      if (delayMs > 0) await sleep(delayMs);
      if (!to.write(piece)) await once(to, 'drain');
    }
    to.end();
  }

  const server = createServer((near) => {
    const far = connect(target);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('close', () => sockets.delete(from));
      from.on('error', () => to.destroy());
      carry(from, to).catch(() => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    delay(ms) {
      delayMs = ms;
    },
    hold() {
      passes = new Promise((resolve) => {
        resume = resolve;
      });
    },
    resume: () => resume(),
    async close() {
      resume();
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
