import type { Worker } from 'node:worker_threads';
import { FoldLostError, FoldThreadError, unpackFailure } from './fold-errors.ts';
import type { Done, FilledBuffer, FoldCommand, FromThread, Stepped, ToThread } from './fold-messages.ts';

/** The main thread's end of one call. */
export interface Call {
  step(input?: FilledBuffer): void;
  end(): void;
  /** The next answer in order. Throws the call's failure, or FoldThreadError when the thread dies. */
  reply(): Promise<Stepped | Done>;
  /** Ends the call early; nothing happens if it is over. */
  abort(): void;
}

export interface FoldChannel {
  /** Starts a thread if there is none. Throws FoldThreadError after close(). */
  start(): void;
  /** Throws FoldLostError where no thread runs. */
  call(fold: string, command: FoldCommand): Call;
  running(): boolean;
  close(): Promise<void>;
}

/** A call's answers that wait to be read. A call is over once it is done, has failed or was aborted. */
interface Mailbox {
  replies: (Stepped | Done)[];
  failure?: Error;
  over: boolean;
  wake: () => void;
}

type Mailboxes = Map<number, Mailbox>;

/**
 * Owns the worker thread: numbers the calls, sorts the answers, and fails every open call when the thread
 * dies.
 */
export function createFoldChannel(startWorker: () => Worker): FoldChannel {
  const mailboxes: Mailboxes = new Map();
  let worker: Worker | undefined;
  let closed = false;
  let calls = 0;

  function lose(dead: Worker, failure: FoldThreadError): void {
    // A thread that ends by an error also exits: only the first of the two counts.
    if (worker !== dead) return;
    worker = undefined;
    for (const call of [...mailboxes.keys()]) fail(mailboxes, call, failure);
  }

  return {
    start() {
      if (closed) throw new FoldThreadError('the fold thread was closed');
      if (worker) return;
      const started = startWorker();
      started.on('message', (message: FromThread) => deliver(mailboxes, message));
      started.on('error', (cause) =>
        lose(started, new FoldThreadError('the fold thread crashed', { cause })),
      );
      started.on('exit', (code) =>
        lose(started, new FoldThreadError(`the fold thread ended with code ${code}`)),
      );
      worker = started;
    },
    call(fold, command) {
      if (!worker) throw new FoldLostError(`fold ${fold} is lost: no fold thread runs`);
      calls += 1;
      worker.postMessage({ type: 'open', call: calls, fold, command } satisfies ToThread);
      return createCall(worker, calls, mailboxes);
    },
    running: () => worker !== undefined,
    async close() {
      closed = true;
      const current = worker;
      if (!current) return;
      lose(current, new FoldThreadError('the fold thread was closed'));
      await current.terminate();
    },
  };
}

function deliver(mailboxes: Mailboxes, message: FromThread): void {
  const { call } = message;
  if (message.type === 'failed') {
    fail(mailboxes, call, unpackFailure(message.failure));
    return;
  }
  const mailbox = mailboxes.get(call);
  mailbox?.replies.push(message);
  if (message.type === 'done') settle(mailboxes, call);
  mailbox?.wake();
}

function fail(mailboxes: Mailboxes, call: number, failure: Error): void {
  const mailbox = mailboxes.get(call);
  if (!mailbox) return;
  mailbox.failure = failure;
  settle(mailboxes, call);
  mailbox.wake();
}

function settle(mailboxes: Mailboxes, call: number): void {
  const mailbox = mailboxes.get(call);
  if (mailbox) mailbox.over = true;
  mailboxes.delete(call);
}

function createCall(worker: Worker, id: number, mailboxes: Mailboxes): Call {
  const mailbox: Mailbox = { replies: [], over: false, wake: () => {} };
  mailboxes.set(id, mailbox);
  const send = (message: ToThread, transfer: ArrayBuffer[] = []) => {
    if (!mailbox.over) worker.postMessage(message, transfer);
  };
  return {
    step(input) {
      if (input) send({ type: 'step', call: id, input }, [input.buffer]);
      else send({ type: 'step', call: id });
    },
    end: () => send({ type: 'end', call: id }),
    async reply() {
      for (;;) {
        const reply = mailbox.replies.shift();
        if (reply) return reply;
        if (mailbox.failure) throw mailbox.failure;
        await new Promise<void>((wake) => {
          mailbox.wake = wake;
        });
      }
    },
    abort() {
      send({ type: 'abort', call: id });
      settle(mailboxes, id);
    },
  };
}
