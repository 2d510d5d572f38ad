import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../api/domain/canonical-json.ts';
import { channels, notify } from '../../../api/store/journal/channels.ts';
import { recordEvent } from '../../../api/store/journal/events.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createObjects } from '../../support/objects.ts';

let test: TestApp;
let headers: RequestHeaders;

beforeAll(async () => {
  test = await createTestApp();
  headers = await test.operator('viewer');
});
afterAll(() => test?.close());

const emit = (type: string, federationId = 'default') =>
  test.deps.db.transaction(async (tx) => {
    const createdAt = test.clock.now();
    await recordEvent(tx, { federationId, type, subject: { n: type }, createdAt });
    await notify(tx, channels.events);
  });

interface Message {
  id: string;
  event?: string;
  data?: { position: number; type: string };
}

/** Reads a stream message by message. */
async function open(query = '', more: Record<string, string> = {}, app = test.app) {
  const response = await app.request(`/v1/events${query}`, { headers: { ...headers, ...more } });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const next = async (): Promise<Message | undefined> => {
    for (;;) {
      const end = text.indexOf('\n\n');
      if (end >= 0) {
        const message = text.slice(0, end);
        text = text.slice(end + 2);
        return parse(message);
      }
      const { value, done } = await reader.read();
      if (done) return undefined;
      text += value;
    }
  };
  const first = await next();
  return { first, next, close: () => reader.cancel() };
}

function parse(text: string): Message {
  const fields = Object.fromEntries(text.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
  return { ...fields, ...(fields.data ? { data: JSON.parse(fields.data) } : {}) };
}

describe('GET /v1/events', () => {
  it('begins with what happens from now on, and says where that is', async () => {
    await emit('old.one');
    const stream = await open();
    await emit('new.one');
    const message = (await stream.next())!;
    expect(message.event).toBe('new.one');
    expect(Number(message.id)).toBe(Number(stream.first!.id) + 1);
    expect(message.data).toMatchObject({
      position: Number(message.id),
      type: 'new.one',
      subject: { n: 'new.one' },
    });
    await stream.close();
  });

  it('resumes after the last event seen, on another replica, without skipping one', async () => {
    const stream = await open();
    await emit('a.one');
    const seen = (await stream.next())!;
    await stream.close();
    await emit('a.two');
    await emit('a.three');
    const replica = await test.replica();
    const resumed = await open('?after=0', { 'last-event-id': seen.id }, replica.app);
    expect([(await resumed.next())!.event, (await resumed.next())!.event]).toEqual(['a.two', 'a.three']);
    await resumed.close();
  });

  it('replays everything after 0, of its federation alone', async () => {
    await emit('secret.one', 'other');
    await emit('last.one');
    const stream = await open('?after=0');
    const types: string[] = [];
    while (types.at(-1) !== 'last.one') types.push((await stream.next())!.event!);
    expect(types).toContain('old.one');
    expect(types).not.toContain('secret.one');
    await stream.close();
  });

  it('leaves out what was not asked for', async () => {
    const stream = await open('?types=b.two,b.four');
    for (const type of ['b.one', 'b.two', 'b.three', 'b.four']) await emit(type);
    expect([(await stream.next())!.event, (await stream.next())!.event]).toEqual(['b.two', 'b.four']);
    await stream.close();
  });

  it('begins at the end when the position is not there yet', async () => {
    const stream = await open('?after=999999');
    await emit('c.one');
    expect((await stream.next())!.event).toBe('c.one');
    await stream.close();
  });

  it.each(['?after=-1', '?after=x', '?types=;'])('refuses %s', async (query) => {
    expect((await test.app.request(`/v1/events${query}`, { headers })).status).toBe(400);
  });

  it('ends when the server shuts down', async () => {
    const stopping = new AbortController();
    const own = await createTestApp({ stopping: stopping.signal });
    const response = await own.app.request('/v1/events', { headers: await own.operator('viewer') });
    const reader = response.body!.getReader();
    await reader.read();
    stopping.abort();
    expect((await reader.read()).done).toBe(true);
    await own.close();
  });
});

describe('GET /v1/audit', () => {
  it('shows a chain that its reader can check', async () => {
    const { run } = await createObjects(test.deps, 'default');
    const operator = await test.operator();
    for (const action of ['pause', 'resume', 'stop']) {
      await test.app.request(`/v1/runs/${run}/${action}`, { method: 'POST', headers: operator });
    }
    const response = await test.app.request('/v1/audit?limit=200', { headers });
    const { items } = (await response.json()) as { items: Record<string, unknown>[] };
    expect(items.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['operator_key.create', 'run.pause', 'run.resume', 'run.stop']),
    );
    let previous = '0'.repeat(64);
    for (const { hash, previousHash, ...entry } of items) {
      expect(previousHash).toBe(previous);
      previous = createHash('sha256')
        .update(previous + canonicalJson(entry))
        .digest('hex');
      expect(hash).toBe(previous);
    }
    const newest = await test.app.request('/v1/audit?limit=1&order=newest', { headers });
    expect(((await newest.json()) as { items: unknown[] }).items).toEqual([items.at(-1)]);
  });
});
