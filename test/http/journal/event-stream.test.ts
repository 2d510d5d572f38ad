import { expect, it, vi } from 'vitest';
import { streamEvents } from '../../../api/http/wire/event-stream.ts';
import type { Event } from '../../../api/services/journal/events.ts';

/** An endless stream that tells when it was left. */
function silence() {
  const left = Promise.withResolvers<void>();
  const follow = async function* (signal: AbortSignal): AsyncGenerator<Event> {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    left.resolve();
  };
  return { follow, left: left.promise };
}

const base = {
  position: 7,
  stillAllowed: async () => {},
  onError: vi.fn(),
  signal: new AbortController().signal,
};
const decode = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

it('sends comments while nothing happens', async () => {
  const { follow, left } = silence();
  const reader = streamEvents({ ...base, follow, heartbeatMs: 1 }).getReader();
  expect(decode((await reader.read()).value)).toBe('retry: 2000\nid: 7\n\n');
  expect(decode((await reader.read()).value)).toBe(': \n\n');
  expect(decode((await reader.read()).value)).toBe(': \n\n');
  await reader.cancel();
  await left;
});

it('ends when its reader may not read any longer', async () => {
  const { follow, left } = silence();
  const stillAllowed = () => Promise.reject(new Error('revoked'));
  const reader = streamEvents({ ...base, follow, stillAllowed, heartbeatMs: 1 }).getReader();
  await reader.read();
  expect((await reader.read()).done).toBe(true);
  await left;
});

it('stops to follow when its reader goes away', async () => {
  const { follow, left } = silence();
  const reader = streamEvents({ ...base, follow }).getReader();
  await reader.read();
  await reader.cancel();
  await left;
  expect(base.onError).not.toHaveBeenCalled();
});

it('ends and tells why when events cannot be read', async () => {
  const broken = new Error('no database');
  const onError = vi.fn();
  const follow = () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(broken) }) });
  const reader = streamEvents({ ...base, follow, onError }).getReader();
  await reader.read();
  expect((await reader.read()).done).toBe(true);
  expect(onError).toHaveBeenCalledWith(broken);
});

it('takes no more events from the table than its reader keeps up with', async () => {
  let taken = 0;
  const createdAt = new Date();
  const follow = async function* (): AsyncGenerator<Event> {
    for (;;) {
      taken += 1;
      yield { position: taken, type: 'x.y', subject: {}, createdAt };
    }
  };
  const reader = streamEvents({ ...base, follow }).getReader();
  await reader.read();
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBeLessThan(100);
  await reader.cancel();
});
