import { connect, type Socket } from 'node:net';
import { type Answer, createAnswerReader, headerOf } from './answers.ts';

export interface Request {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array;
  /** Keep the answer's body. */
  keep?: boolean;
}

/** A keep-alive connection that takes one request at a time. It is opened by the first one, and again if it was closed. */
export interface Connection {
  send(request: Request): Promise<Answer>;
  close(): void;
}

/** Answers are looked at as they come, so one buffer does for all connections of the process. */
const buffer = Buffer.alloc(256 * 1024);

/**
 * As little of an HTTP client as can be: on a machine that the server shares with its clients, what they burn is missing
 * in the figure. `localAddress`: one of 127.0.0.0/8 where the ports of one address would not do.
 */
export function createConnection(url: string, localAddress?: string): Connection {
  const { hostname, port, host } = new URL(url);
  let socket: Socket | undefined;
  let read: ((chunk: Buffer) => Answer | undefined) | undefined;
  let settle: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;

  function fail(closed: Socket, error: Error): void {
    if (closed !== socket) return;
    socket = undefined;
    const waiting = settle;
    settle = undefined;
    waiting?.reject(error);
  }

  function take(from: Socket, chunk: Buffer): void {
    let answer: Answer | undefined;
    try {
      answer = read?.(chunk);
    } catch (error) {
      fail(from, error as Error);
      from.destroy();
    }
    if (!answer || from !== socket) return;
    if (headerOf(answer.head, 'connection')?.toLowerCase() === 'close') {
      socket = undefined;
      from.destroy();
    }
    const waiting = settle;
    settle = undefined;
    waiting?.resolve(answer);
  }

  function open(): Socket {
    const callback = (length: number) => {
      take(opened, buffer.subarray(0, length));
      return true;
    };
    const target = { host: hostname, port: Number(port), noDelay: true, onread: { buffer, callback } };
    const opened = connect(localAddress === undefined ? target : { ...target, localAddress });
    opened.on('error', (error) => fail(opened, error));
    opened.on('close', () => fail(opened, new Error('the connection was closed')));
    return opened;
  }

  return {
    send({ method, path, headers = {}, body, keep = false }) {
      socket ??= open();
      read = createAnswerReader(keep);
      const fields = { host, ...headers, ...(body && { 'content-length': String(body.length) }) };
      const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
      const { promise, resolve, reject } = Promise.withResolvers<Answer>();
      settle = { resolve, reject };
      socket.cork();
      socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
      if (body) socket.write(body);
      socket.uncork();
      return promise;
    },
    close() {
      const closing = socket;
      if (!closing) return;
      fail(closing, new Error('the connection was given up'));
      closing.destroy();
    },
  };
}
