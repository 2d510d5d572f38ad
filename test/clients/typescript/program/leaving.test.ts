import { expect, it } from 'vitest';
import type { AgentEvent } from '../../../../clients/typescript/agent/agent-event.ts';
import { leaveInOrder } from '../../../../clients/typescript/program/leaving.ts';
import { Declined, type Task, type Trainer } from '../../../../clients/typescript/trainer.ts';

const assigned = { type: 'assigned' } as AgentEvent;
const settled: AgentEvent = { type: 'settled', assignmentId: 'a', outcome: 'returned' };
const task = { signal: new AbortController().signal } as Task;

/** Trains until its signal is aborted. */
const endless: Trainer = {
  train: ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
};

it('ends at once while the agent waits', () => {
  const stopping = new AbortController();
  const leaving = leaveInOrder(endless, stopping.signal);
  expect(leaving.signal.aborted).toBe(false);
  stopping.abort();
  expect(leaving.signal.aborted).toBe(true);
});

it('declines what is being trained, and ends when that is given back', async () => {
  const stopping = new AbortController();
  const leaving = leaveInOrder(endless, stopping.signal);
  leaving.onProgress(assigned);
  const training = leaving.trainer.train(task);
  stopping.abort();
  await expect(training).rejects.toEqual(new Declined('busy'));
  expect(leaving.signal.aborted).toBe(false);
  leaving.onProgress(settled);
  expect(leaving.signal.aborted).toBe(true);
});

it('begins no training any more', async () => {
  const stopping = new AbortController();
  const leaving = leaveInOrder(endless, stopping.signal);
  leaving.onProgress(assigned);
  stopping.abort();
  await expect(leaving.trainer.train(task)).rejects.toBeInstanceOf(Declined);
});

it('passes on what a trainer fails of by itself', async () => {
  const failing: Trainer = { train: () => Promise.reject(new Error('no memory')) };
  const leaving = leaveInOrder(failing, new AbortController().signal);
  await expect(leaving.trainer.train(task)).rejects.toThrow('no memory');
});
