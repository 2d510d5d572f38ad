import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  expectNotTaken,
  type Invited,
  runOverFault,
} from '../../support/acceptance/faults/rounds-over-faults.ts';
import { startWire, type Wire } from '../../support/acceptance/faults/wires.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { postmasterPid } from '../../support/acceptance/programs.ts';
import { assertOutage, send } from '../../support/acceptance/requests.ts';
import { type Service, startReplicas, startServer } from '../../support/acceptance/services.ts';
import {
  listBackends,
  type OwnDatabase,
  startOwnDatabase,
  takeAllConnections,
} from '../../support/acceptance/surroundings/own-databases.ts';
import { waitFor, waitUntil } from '../../support/acceptance/waiting.ts';

/** A silence that is waited out, and how long the database is waited for. */
const SILENCE_MS = 2000;
const TIMEOUT_SECONDS = 5;

const requests = ['/readyz', '/v1/assignment?wait=0', '/v1/devices/me'];

/** The server says that it can neither answer these requests nor take the update of who waits, and when to ask again. */
async function expectOutage(federation: Federation, waiting?: Invited, paths = requests): Promise<void> {
  const { service, devices } = federation;
  const headers = { authorization: `Bearer ${await devices[0]!.token()}` };
  for (const path of paths) {
    const answer = await waitFor(`${path} is unavailable`, async () => {
      const found = await send(service.url(), { method: 'GET', path, headers });
      return found.status === 200 || found.status === 204 ? undefined : found;
    });
    assertOutage(answer);
    expect(answer.json()).toMatchObject({ code: 'unavailable' });
  }
  if (waiting) await expectNotTaken(federation, waiting);
}

/** What workers could not do because the database ended a statement that took too long. */
const countCancelled = (service: Service) =>
  service.logs().match(/.*statement timeout.*a part of the worker failed.*/g)?.length ?? 0;

describe('an API and a worker whose PostgreSQL', { timeout: 120_000 }, () => {
  let database: OwnDatabase;
  let wire: Wire;
  let service: Service;
  let federation: Federation;
  beforeAll(async () => {
    database = await startOwnDatabase({ max_connections: '24' });
    wire = await startWire(database.socket);
    service = await startReplicas(
      { api: 1, workers: 1 },
      {
        DATABASE_URL: `postgres://${database.user}@127.0.0.1:${wire.port}/${database.name}`,
        FEDEDGE_DATABASE_CONNECTIONS: '5',
        FEDEDGE_DATABASE_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS),
      },
    );
    federation = await createFederation(service, 4);
  });
  afterAll(async () => {
    await service?.close();
    await wire?.close();
    await database?.close();
  });

  const administer = async (statement: (sql: ReturnType<OwnDatabase['session']>) => Promise<unknown>) => {
    const sql = database.session();
    await statement(sql).finally(() => sql.end({ timeout: 1 }));
  };

  const faults: Record<string, (waiting?: Invited) => Promise<void>> = {
    'is restarted': () => database.restart(),
    'is killed': () => database.kill9(),
    'loses a backend, and with it all': () =>
      administer(async (sql) => process.kill((await listBackends(sql))[0]!, 'SIGKILL')),
    'ends all sessions': () =>
      administer(
        async (sql) =>
          sql`select pg_terminate_backend(pid) from unnest(${await listBackends(sql)}::int[]) as pid`,
      ),
    'has no connection left': async (waiting) => {
      const others = await takeAllConnections(database);
      await expectOutage(federation, waiting).finally(others.release);
    },
    // What is asked takes effect all the same, when nobody waits for it any longer.
    'is so slow that its answers come too late': async (waiting) => {
      wire.delay(TIMEOUT_SECONDS * 1000 + 500);
      await expectOutage(federation, waiting).finally(() => wire.delay(0));
    },
    // It answers, but what touches a round waits until the database itself ends it: connections and locks stay.
    'keeps statements waiting for longer than they may': (waiting) =>
      administer((sql) =>
        sql.begin(async (tx) => {
          const cancelled = countCancelled(service);
          await tx`lock table rounds in access exclusive mode`;
          await expectOutage(federation, waiting, ['/v1/assignment?wait=0']);
          await waitUntil('the worker gave up, too', () => countCancelled(service) > cancelled);
        }),
      ),
    'says nothing for a while': async () => {
      wire.hold();
      await sleep(SILENCE_MS);
      wire.resume();
    },
    // No connection is closed, and new ones are taken: nothing but the silence tells it.
    'vanishes without a word': async (waiting) => {
      wire.hold();
      await expectOutage(federation, waiting).finally(wire.resume);
    },
  };

  it.each(Object.keys(faults))('%s in the middle of a round, goes on by itself', async (name) => {
    await runOverFault(federation, name, faults[name]!);
  });

  it('did all that lost nothing', async () => {
    await federation.settle();
    await checkInvariants(federation);
  });
});

describe('a server whose own PostgreSQL', { timeout: 120_000 }, () => {
  let service: Service;
  let federation: Federation;
  beforeAll(async () => {
    service = await startServer();
    federation = await createFederation(service, 4);
  });
  afterAll(async () => {
    await service?.close();
  });

  it.each(['SIGINT', 'SIGKILL'] as const)(
    'gets %s in the middle of a round, goes on by itself',
    async (signal) => {
      await runOverFault(federation, `own ${signal}`, async () => {
        const pid = await postmasterPid(service.dataDir);
        process.kill(pid, signal);
        await waitUntil('there is another', async () => (await postmasterPid(service.dataDir)) !== pid);
      });
      await checkInvariants(federation);
    },
  );
});
