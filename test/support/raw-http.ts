import { connect, type Socket } from 'node:net';

/** A bare connection: what is written goes out as it is, what comes in is kept. */
export interface RawConnection {
  socket: Socket;
  send(text: string | Uint8Array): void;
  /** Resolves with everything received so far as soon as it matches. Rejects when the connection ends before. */
  until(pattern: RegExp): Promise<string>;
  /** Resolves with everything received when the other side has ended the connection, or it broke. */
  ended(): Promise<string>;
}

export function openRaw(port: number): RawConnection {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  let over = false;
  let look = () => {};
  const looks: (() => void)[] = [];
  look = () => {
    for (const check of looks.splice(0)) check();
  };
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
    look();
  });
  const onOver = () => {
    over = true;
    look();
  };
  socket.on('end', onOver).on('close', onOver).on('error', onOver);
  const waitFor = (isReached: () => boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = () => {
        if (isReached()) resolve(received);
        else if (over) reject(new Error(`the connection ended with ${JSON.stringify(received)}`));
        else looks.push(check);
      };
      check();
    });
  return {
    socket,
    send: (text) => {
      socket.write(text);
    },
    until: (pattern) => waitFor(() => pattern.test(received)),
    ended: () => waitFor(() => over),
  };
}

const SIP_BYTES = 8;
const SIP_MS = 100;

/** Sends a request and takes the answer by a few bytes now and then: no more leaves the system's buffers. */
export function readSlowly(port: number, request: string) {
  let taken = 0;
  let begin = () => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const onSip = (bytes: number) => {
    taken += bytes;
    begin();
    return false;
  };
  const socket = connect({
    port,
    host: '127.0.0.1',
    onread: { buffer: new Uint8Array(SIP_BYTES), callback: onSip },
  });
  const timer = setInterval(() => socket.resume(), SIP_MS);
  socket.on('error', () => {}).once('close', () => clearInterval(timer));
  socket.write(request);
  return { begun, taken: () => taken, stop: () => socket.destroy() };
}

/** The head of a request, with the empty line. */
export function requestHead(method: string, path: string, headers: Record<string, string>): string {
  const lines = Object.entries({ host: '127.0.0.1', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
