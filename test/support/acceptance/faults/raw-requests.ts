import { connect } from 'node:net';
import { digestField } from '../requests.ts';

/** What came back on a bare connection before its other side ended it. */
export interface RawAnswer {
  /** 0: the connection ended without an answer. */
  status: number;
  body: string;
}

/** A request whose every byte is the test's own. */
export interface RawRequest {
  method: string;
  path: string;
  /** `undefined` leaves out what would be there. */
  headers: Record<string, string | undefined>;
  body?: Buffer;
  /** Ends its side of the connection after the body. */
  hangsUp?: boolean;
}

/** The PUT of an update as a good device sends it; `headers` replace or leave out. */
export function rawUpdate(
  path: string,
  token: string,
  body: Buffer,
  headers: RawRequest['headers'] = {},
): RawRequest {
  const declared = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/octet-stream',
    'content-length': String(body.length),
    'content-digest': digestField(body),
  };
  return { method: 'PUT', path, headers: { ...declared, ...headers }, body };
}

/** Writes the request and reads until the server ends the connection. */
export function sendRaw(
  url: string,
  { method, path, headers, body, hangsUp }: RawRequest,
): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const lines = Object.entries({ host: `${hostname}:${port}`, connection: 'close', ...headers })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    // A reset after the answer is the server's right: it did not want the rest.
    socket.on('error', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      const [head = '', rest = ''] = text.split('\r\n\r\n', 2);
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0), body: rest });
    });
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
    if (body) socket.write(body);
    if (hangsUp) socket.end();
  });
}
