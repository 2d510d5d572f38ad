import { once } from 'node:events';
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An answer that the server gave and nobody got. */
export interface LostAnswer {
  status: number;
  body: Buffer;
}

/** A proxy that loses answers: the server did what it was asked, and the connection breaks before the client knows. */
export interface LossyProxy {
  readonly url: string;
  /** The next successful answer to this method on a path that matches is lost; resolves with it. */
  loseNext(method: string, path: RegExp): Promise<LostAnswer>;
  close(): Promise<void>;
}

interface Trap {
  method: string;
  path: RegExp;
  spring(answer: LostAnswer): void;
}

export async function startLossyProxy(target: () => string): Promise<LossyProxy> {
  const traps = new Set<Trap>();
  const server = createServer((incoming, outgoing) => relay(target(), incoming, outgoing, traps));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    loseNext: (method, path) =>
      new Promise((resolve) => {
        traps.add({ method, path, spring: resolve });
      }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function relay(target: string, incoming: IncomingMessage, outgoing: ServerResponse, traps: Set<Trap>): void {
  const { method = '', url = '', headers } = incoming;
  const asked = forward(target + url, { method, headers });
  incoming.pipe(asked);
  asked.on('error', () => outgoing.destroy());
  outgoing.on('close', () => asked.destroy());
  asked.on('response', (answer) => {
    const status = answer.statusCode!;
    // A poll that found nothing says nothing that could be lost.
    const done = status < 300 && !(method === 'GET' && status === 204);
    const trap = [...traps].find((each) => done && each.method === method && each.path.test(url));
    if (!trap) {
      outgoing.writeHead(status, answer.rawHeaders);
      answer.pipe(outgoing);
      return;
    }
    traps.delete(trap);
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.on('end', () => {
      trap.spring({ status, body: Buffer.concat(chunks) });
      outgoing.destroy();
    });
  });
}
