import type { AgentEvent } from '../agent/agent-event.ts';
import { Declined, type Task, type Trainer } from '../trainer.ts';

/** What is at work gets so long to be given back or sent. */
const LEAVE_MS = 20_000;

export interface Leaving {
  /** Trains until the agent leaves; from then on it declines. */
  trainer: Trainer;
  /** Ends the agent: at once if it waits, else when its assignment is settled. */
  signal: AbortSignal;
  onProgress(event: AgentEvent): void;
}

/**
 * Lets an agent leave in order when `stopping` is aborted: an assignment whose update is not trained yet is given back, so
 * that the server invites another device at once; a trained update is sent.
 */
export function leaveInOrder(trainer: Trainer, stopping: AbortSignal): Leaving {
  const leaving = new AbortController();
  let isAtWork = false;
  const leave = () => {
    if (!isAtWork) return leaving.abort();
    setTimeout(() => leaving.abort(), LEAVE_MS).unref();
  };
  stopping.addEventListener('abort', leave, { once: true });

  const untilStopped = async <T>(task: Task, work: (task: Task) => Promise<T>): Promise<T> => {
    try {
      stopping.throwIfAborted();
      return await work({ ...task, signal: AbortSignal.any([task.signal, stopping]) });
    } catch (error) {
      throw stopping.aborted ? new Declined('busy') : error;
    }
  };
  return {
    trainer: {
      train: (task) => untilStopped(task, (own) => trainer.train(own)),
      evaluate: async (task) => {
        if (!trainer.evaluate) throw new Declined('no_data');
        return untilStopped(task, (own) => trainer.evaluate!(own));
      },
    },
    signal: leaving.signal,
    onProgress({ type }) {
      if (type === 'assigned') isAtWork = true;
      if (type !== 'settled') return;
      isAtWork = false;
      if (stopping.aborted) leaving.abort();
    },
  };
}
