import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { postmasterPid } from '../../support/acceptance/programs.ts';
import { digestField } from '../../support/acceptance/requests.ts';
import { type Service, startReplicas, startServer } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Service | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

interface Jwk {
  kid: string;
}

function makeKey(): Jwk {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID() } as Jwk;
}

async function publishedKids(url: string): Promise<string[]> {
  const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: Jwk[] };
  return keys.map(({ kid }) => kid);
}

it('rotates the keys of access tokens on two replicas under load, without a refused request', async () => {
  const replicas = await startReplicas({ api: 2, workers: 1 });
  service = replicas;
  const federation = await createFederation(replicas, 3);
  const path = join(replicas.dataDir, 'token-keys.json');
  const first = (JSON.parse(await readFile(path, 'utf8')) as { keys: Jwk[] }).keys[0]!;
  const second = makeKey();
  const place = async (keys: Jwk[]) => {
    await writeFile(`${path}.new`, JSON.stringify({ keys }), { mode: 0o600 });
    await rename(`${path}.new`, path);
    const kids = keys.map(({ kid }) => kid);
    for (const { url } of replicas.replicas) {
      await waitUntil('the replica has read it', async () => `${await publishedKids(url)}` === `${kids}`);
    }
  };
  const statuses = new Set<number>();
  let isOver = false;
  const load = federation.devices.map(async (device) => {
    while (!isOver) {
      for (const { url } of replicas.replicas) {
        const headers = { authorization: `Bearer ${await device.token()}` };
        const response = await fetch(`${url}/v1/devices/me`, { headers });
        await response.body?.cancel();
        statuses.add(response.status);
      }
    }
  });
  // The new key verifies everywhere before it signs anywhere, and the old one for as long as its tokens live.
  await place([first, second]);
  await place([second, first]);
  const fresh = await federation.enrol(2);
  const kids = await Promise.all(
    fresh.map(async (device) => {
      const [head] = (await device.token()).split('.');
      return (JSON.parse(Buffer.from(head!, 'base64url').toString()) as Jwk).kid;
    }),
  );
  expect(kids).toEqual([second.kid, second.kid]);
  // A file that is no key set changes nothing.
  await writeFile(path, 'not a key set');
  await waitUntil('it is told', () => replicas.logs().includes('cannot be read again'));
  for (const { url } of replicas.replicas) {
    expect(await publishedKids(url)).toEqual([second.kid, first.kid]);
  }
  isOver = true;
  await Promise.all(load);
  expect([...statuses]).toEqual([200]);
  await place([second, first]);
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
