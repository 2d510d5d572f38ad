import { randomUUID } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type {
  EvaluationSet,
  MlBackendName,
  NamedTensor,
  ScoreRequest,
  ScoreResult,
  Scorer,
} from '../../domain/ml.ts';
import type { ScoreMessage, ScoreReply, ThreadOptions } from './score-messages.ts';

export interface ScorerOptions {
  /** WebAssembly unless told otherwise: small, and the same everywhere. */
  backend?: MlBackendName | undefined;
  /** A score that takes longer fails, and its thread is stopped. */
  timeoutMs?: number | undefined;
}

interface Thread {
  worker: Worker;
  pending: { resolve(result: ScoreResult): void; reject(error: Error): void } | undefined;
  /** The key of the evaluation set that the thread holds. */
  evaluationKey: string | undefined;
}

/**
 * Starts a worker thread that scores models one after another, so that the caller's event loop stays free. A
 * thread that dies or fails takes down its one score; the next gets a new thread. An idle scorer does not
 * keep the process alive.
 */
export async function createScorer({
  backend = 'wasm',
  timeoutMs = 120_000,
}: ScorerOptions = {}): Promise<Scorer> {
  let thread: Thread | undefined;
  let closed = false;
  let queue: Promise<unknown> = Promise.resolve();

  const current = (): Thread => {
    if (closed) throw new Error('the scorer is closed');
    if (thread) return thread;
    const started = startThread({ backend }, () => {
      if (thread === started) thread = undefined;
    });
    thread = started;
    return started;
  };

  const scoreNow = async (request: ScoreRequest): Promise<ScoreResult> => {
    const { architecture, loss, evaluationKey = `unnamed ${randomUUID()}` } = request;
    const held = current().evaluationKey === evaluationKey;
    const evaluationSet = held ? undefined : await givenSet(request);
    const tensors = new Map(request.tensors);
    return post(current(), { architecture, tensors, evaluationKey, evaluationSet, loss }, timeoutMs);
  };

  current();
  return {
    score: (request) => {
      const result = queue.then(() => scoreNow(request));
      queue = result.catch(() => undefined);
      return result;
    },
    close: async () => {
      closed = true;
      await thread?.worker.terminate();
    },
  };
}

async function givenSet({ evaluationSet }: ScoreRequest): Promise<EvaluationSet> {
  return typeof evaluationSet === 'function' ? evaluationSet() : evaluationSet;
}

function startThread(workerData: ThreadOptions, onEnd: () => void): Thread {
  const worker = new Worker(new URL('./score-thread.ts', import.meta.url), { workerData });
  const thread: Thread = { worker, pending: undefined, evaluationKey: undefined };
  const end = (reason: string, cause?: Error): void => {
    onEnd();
    thread.pending?.reject(new Error(`the scoring thread ${reason}`, { cause }));
  };
  worker.on('message', (reply: ScoreReply) => {
    if ('result' in reply) return thread.pending?.resolve(reply.result);
    // Whatever failed may have left the WebAssembly heap in any state: the next score gets a new thread.
    onEnd();
    thread.pending?.reject(new Error(reply.error));
    void worker.terminate();
  });
  worker.on('error', (error) => end(`died: ${error.message}`, error));
  worker.on('exit', (code) => end(`ended with code ${code}`));
  worker.unref();
  return thread;
}

async function post(thread: Thread, message: ScoreMessage, timeoutMs: number): Promise<ScoreResult> {
  const { worker } = thread;
  const { promise, resolve, reject } = Promise.withResolvers<ScoreResult>();
  thread.pending = { resolve, reject };
  const timer = setTimeout(() => {
    reject(new Error(`a model was not scored within ${timeoutMs} ms`));
    void worker.terminate();
  }, timeoutMs);
  worker.ref();
  try {
    thread.evaluationKey = message.evaluationKey;
    worker.postMessage(message, movable(message));
    return await promise;
  } finally {
    clearTimeout(timer);
    thread.pending = undefined;
    worker.unref();
  }
}

/** The buffers that a weight array owns whole are moved; shared ones (and the evaluation set) are copied. */
function movable({ tensors }: ScoreMessage): ArrayBuffer[] {
  const owned = [...tensors.values()].filter(ownsBuffer).map(({ values }) => values.buffer);
  return [...new Set(owned)];
}

function ownsBuffer({ values }: NamedTensor): boolean {
  return values.byteLength > 0 && values.byteLength === values.buffer.byteLength;
}
