import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import {
  openEvents,
  readAllEvents,
  type StreamEvent,
} from '../../support/acceptance/observed/event-reader.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { startServer } from '../../support/acceptance/services.ts';

let service: Awaited<ReturnType<typeof startServer>>;
let federation: Federation;
beforeAll(async () => {
  service = await startServer();
  federation = await createFederation(service, 3);
});
afterAll(async () => {
  await service?.close();
});

describe('a reader of events', { timeout: 120_000 }, () => {
  it('misses none and sees none twice, though the server is killed again and again', async () => {
    const { server } = service;
    await federation.createModel('watched');
    const seen: StreamEvent[] = [];
    // Before the first event there is one to come back to as well.
    let last = (await readAllEvents(service)).length;
    const start = last;
    const work = federation.work();
    const run = await federation.startRun('watched', { rounds: 8 });
    for (let kills = 0; !isEnd(seen.at(-1)); ) {
      const stream = await openEvents(service, server.url, last);
      expect(stream.start).toBe(last);
      for (let event = await stream.next(); event; event = await stream.next()) {
        seen.push(event);
        last = event.position;
        if (isEnd(event)) break;
        if (event.type !== 'round.completed' || kills === 3) continue;
        // With events on their way: whatever arrives before the stream breaks still counts.
        kills += 1;
        await server.kill9();
      }
      stream.close();
      if (!server.isRunning()) await server.start();
    }
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 8 });
    await work.stop();
    expect(seen).toEqual((await readAllEvents(service)).slice(start, start + seen.length));
    expect(seen.filter(({ type }) => type === 'round.completed')).toHaveLength(8);
    await checkInvariants(federation);
  });

  it('that asks for some types gets those alone', async () => {
    const stream = await openEvents(service, service.url(), 0, 'run.created,run.completed');
    const first = await stream.next();
    const second = await stream.next();
    stream.close();
    expect([first?.type, second?.type]).toEqual(['run.created', 'run.completed']);
  });
});

function isEnd(event: StreamEvent | undefined): boolean {
  return event?.type === 'run.completed' || event?.type === 'run.failed';
}
