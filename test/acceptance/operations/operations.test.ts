import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { postmasterPid } from '../../support/acceptance/programs.ts';
import { digestField } from '../../support/acceptance/requests.ts';
import { type Service, startServer } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Service | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

it('lets polls and an upload end before it stops, within 20 s', async () => {
  const running = await startServer();
  service = running;
  const federation = await createFederation(running, 3);
  await federation.createModel('drained');
  const run = await federation.startRun('drained', { rounds: 1, quorum: 2, capacity: 2, deadlineMs: 60_000 });
  const [one] = await federation.invitedTo(run.id, 2);
  const idle = (await federation.enrol(1))[0]!;
  const { file } = await federation.train(one!.assignment);
  const url = running.url();
  const headers = { authorization: `Bearer ${await one!.device.token()}` };
  const poll = fetch(`${url}/v1/assignment?wait=50`, {
    headers: { authorization: `Bearer ${await idle.token()}` },
  });
  let isHalfSent: (() => void) | undefined;
  const half = new Promise<void>((resolve) => (isHalfSent = resolve));
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(new Uint8Array(file.subarray(0, 100)));
      isHalfSent!();
      await waitUntil('the server stops', () => running.logs().includes('"stopping"'));
      controller.enqueue(new Uint8Array(file.subarray(100)));
      controller.close();
    },
  });
  const upload = fetch(url + one!.assignment.update!.url, {
    method: 'PUT',
    body,
    duplex: 'half',
    headers: {
      ...headers,
      'content-type': 'application/octet-stream',
      'content-length': String(file.length),
      'content-digest': digestField(file),
    },
  } as RequestInit);
  await half;
  await sleep(200);
  const began = Date.now();
  const stopped = running.server.stop();
  expect((await poll).status).toBe(204);
  expect((await upload).status).toBe(201);
  await stopped;
  expect(Date.now() - began).toBeLessThan(20_000);
  expect(await running.server.ended()).toBeNull();
});

it('starts its PostgreSQL again when that dies, and goes on', async () => {
  const running = await startServer();
  service = running;
  const federation: Federation = await createFederation(running, 3);
  await federation.createModel('survivor');
  const work = federation.work();
  const run = await federation.startRun('survivor', { rounds: 6 });
  for (let death = 1; death <= 2; death += 1) {
    await waitUntil(
      'rounds are published',
      async () => (await federation.run(run.id)).completedRounds >= death,
    );
    const pid = await postmasterPid(running.dataDir);
    process.kill(pid, 'SIGKILL');
    await waitUntil('there is another', async () => (await postmasterPid(running.dataDir)) !== pid);
    await waitUntil('it is ready again', async () => (await fetch(`${running.url()}/readyz`)).ok);
  }
  expect((await federation.finish(run.id)).completedRounds).toBe(6);
  await work.stop();
  await checkInvariants(federation);
  await running.server.stop();
  expect(await running.server.ended(), 'it ends in order').toBeNull();
});
