import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it arrived; `cut` if the connection was broken before its body was whole. */
export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: Buffer;
  cut: boolean;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  /** Bytes, or what becomes JSON. */
  body?: Buffer | object;
}

/** What goes wrong with one request. A function's reply takes the place of the handler's. */
/** `pass` is for the requests before the one that is meant. */
export type Fault =
  | 'pass'
  | 'drop request'
  | 'drop answer'
  | { cutAnswerAfter: number }
  | { cutRequestAfter: number }
  | ((seen: Seen) => Reply);

export interface ScriptedServer {
  url: string;
  /** Everything that has arrived, in order. */
  seen: Seen[];
  /** The next request of this method whose path matches suffers this. */
  fault(method: string, path: RegExp, fault: Fault): void;
  /** Rejects with what a handler failed at. */
  close(): Promise<void>;
}

type Handler = (seen: Seen) => Reply | Promise<Reply>;

/** A real HTTP server that answers what the handler says, except where a fault was ordered. */
export async function startScriptedServer(handler: Handler, now: () => Date): Promise<ScriptedServer> {
  const seen: Seen[] = [];
  const faults: { method: string; path: RegExp; fault: Fault }[] = [];
  const takeFault = (request: Seen): Fault | undefined => {
    const at = faults.findIndex(({ method, path }) => method === request.method && path.test(request.path));
    return at < 0 ? undefined : faults.splice(at, 1)[0]!.fault;
  };

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { socket } = incoming;
    const request = describe(incoming);
    const fault = takeFault(request);
    if (fault === 'drop request') return void socket.destroy();
    const limit = typeof fault === 'object' && 'cutRequestAfter' in fault ? fault.cutRequestAfter : Infinity;
    await readBody(incoming, request, limit);
    seen.push(request);
    const reply = typeof fault === 'function' ? fault(request) : await handler(request);
    if (fault === 'drop answer' || request.cut) return void socket.destroy();
    const cutAfter = typeof fault === 'object' && 'cutAnswerAfter' in fault ? fault.cutAnswerAfter : Infinity;
    send(outgoing, reply, now(), cutAfter);
  }

  const failures: unknown[] = [];
  const server = createServer((incoming, outgoing) => {
    const { socket } = incoming;
    answer(incoming, outgoing).catch((error) => {
      failures.push(error);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    fault: (method, path, fault) => void faults.push({ method, path, fault }),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      if (failures.length > 0) throw failures[0];
    },
  };
}

function describe({ method = '', url = '', headers }: IncomingMessage): Seen {
  const { pathname, searchParams } = new URL(url, 'http://scripted');
  return { method, path: pathname, query: searchParams, headers, body: Buffer.alloc(0), cut: false };
}

async function readBody(incoming: IncomingMessage, request: Seen, limit: number): Promise<void> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= limit) break;
  }
  request.cut = limit < Infinity;
  request.body = Buffer.concat(chunks).subarray(0, limit);
}

function send(
  outgoing: ServerResponse,
  { status, headers = {}, body }: Reply,
  now: Date,
  cutAfter: number,
): void {
  const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const type = Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json';
  outgoing.sendDate = false;
  outgoing.writeHead(status, {
    date: now.toUTCString(),
    ...(bytes && { 'content-type': type, 'content-length': String(bytes.length) }),
    ...headers,
  });
  if (!bytes || cutAfter >= bytes.length) return void outgoing.end(bytes);
  outgoing.write(bytes.subarray(0, cutAfter), () => outgoing.socket?.destroy());
}
