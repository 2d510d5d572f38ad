import { setImmediate } from 'node:timers/promises';
import {
  type AgentEvent,
  type AgentOptions,
  createAgent,
  createMemoryStore,
  type Task,
  type Trainer,
} from '../../../../clients/typescript/index.ts';
import { TOKEN } from './scripted-federation.ts';

export interface RunningAgent {
  events: AgentEvent[];
  /** How long it meant to wait, each time. */
  sleeps: number[];
  /** Resolves with the first event that matches, of the past too. */
  event<T extends AgentEvent['type']>(
    type: T,
    matches?: (event: Extract<AgentEvent, { type: T }>) => boolean,
  ): Promise<Extract<AgentEvent, { type: T }>>;
  stop(): Promise<void>;
  ended: Promise<void>;
}

type Options = Partial<Omit<AgentOptions, 'store' | 'stateDir'>> & { url: string } & Partial<
    Pick<Extract<AgentOptions, { store: unknown }>, 'store'>
  >;

/** An agent that runs until the test stops it, and that waits for nothing: its sleeps are written down and skipped. */
export function startAgent(options: Options): RunningAgent {
  const stopping = new AbortController();
  const events: AgentEvent[] = [];
  const sleeps: number[] = [];
  const watchers = new Set<() => void>();
  const agent = createAgent({
    name: 'agent',
    enrollmentToken: TOKEN,
    trainer: addOne(),
    store: createMemoryStore(),
    ...options,
    signal: stopping.signal,
    timing: {
      now: () => Date.now(),
      random: () => 0.5,
      sleep: async (ms, signal) => {
        sleeps.push(ms);
        await setImmediate();
        signal.throwIfAborted();
      },
      ...options.timing,
    },
    onProgress: (event) => {
      events.push(event);
      options.onProgress?.(event);
      for (const look of watchers) look();
    },
  });
  const ended = agent.run();
  ended.catch(() => undefined);
  return {
    events,
    sleeps,
    ended,
    event: (type, matches = () => true) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = events.find((event) => event.type === type && matches(event as never));
          if (!found) return;
          watchers.delete(look);
          resolve(found as never);
        };
        watchers.add(look);
        ended.then(() => reject(new Error(`the agent ended without ${type}`)), reject);
        look();
      }),
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

/** Learns that every weight should be one more, from five examples. Remembers its tasks. */
export function addOne(): Trainer & { tasks: Task[] } {
  const tasks: Task[] = [];
  return {
    tasks,
    async train(task) {
      tasks.push(task);
      const weights = [...task.weights].map(
        ([name, { shape, values }]) => [name, { shape, values: values.map((value) => value + 1) }] as const,
      );
      return { weights: new Map(weights), numExamples: 5, metrics: { loss: 0.5 } };
    },
  };
}
