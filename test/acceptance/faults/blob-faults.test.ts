import { mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  contributeAll,
  expectAlive,
  expectAllFolded,
  expectNotTaken,
  expectOutage,
  patient,
  runOverFault,
} from '../../support/acceptance/faults/rounds-over-faults.ts';
import { mountSmallDisk, type SmallDisk } from '../../support/acceptance/faults/small-disks.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { startReplicas } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';
import { type FakeS3, type Fault, startFakeS3 } from '../../support/fake-s3.ts';

type Replicas = Awaited<ReturnType<typeof startReplicas>>;

describe('an API and a worker whose S3', { timeout: 120_000 }, () => {
  let s3: FakeS3;
  let service: Replicas;
  let federation: Federation;
  beforeAll(async () => {
    s3 = await startFakeS3({ bucket: 'blobs' });
    service = await startReplicas(
      { api: 1, workers: 1 },
      {
        FEDEDGE_S3_URL: `${s3.endpoint}/blobs/federation`,
        FEDEDGE_S3_ACCESS_KEY_ID: 'test-key',
        FEDEDGE_S3_SECRET_ACCESS_KEY: 'test-secret',
        FEDEDGE_S3_TIMEOUT_SECONDS: '2',
      },
    );
    federation = await createFederation(service, 4);
  });
  afterAll(async () => {
    await service?.close();
    await s3?.close();
  });

  const fail = (count: number, match: RegExp, fault: Fault) => {
    for (let i = 0; i < count; i += 1) s3.faults.push({ match, fault });
  };

  it.each<[string, RegExp, Fault]>([
    ['loses the answers to writes', /^PUT /, { kind: 'lose-answer' }],
    ['breaks connections', /^/, { kind: 'refuse' }],
    ['answers 503 now and then', /^/, { kind: 'status', status: 503 }],
    ['cuts what it sends', /^GET [^?]+$/, { kind: 'cut', bytes: 100 }],
    ['carries writes out without a word', /^PUT /, { kind: 'silent-after-effect' }],
  ])('%s in the middle of a round, goes on by itself', async (name, match, fault) => {
    await runOverFault(federation, name, async () => fail(5, match, fault));
    // Ten were put there: they were met.
    expect(s3.faults.length).toBeLessThan(10);
    s3.faults.length = 0;
  });

  it('is out in the middle of a round, goes on by itself', async () => {
    await runOverFault(federation, 'out', async (waiting) => {
      fail(100_000, /^/, { kind: 'status', status: 503 });
      expect(await expectOutage(federation, waiting)).toMatchObject({ database: 'ok' });
      s3.faults.length = 0;
    });
  });

  it('carries every write out and answers none, goes on by itself', async () => {
    await runOverFault(federation, 'mute', async (waiting) => {
      const stored = s3.objects.size;
      fail(100_000, /^PUT /, { kind: 'silent-after-effect' });
      if (waiting) {
        await expectNotTaken(federation, waiting);
        // Its bytes are there, but nobody knows.
        expect(s3.objects.size).toBeGreaterThan(stored);
      }
      s3.faults.length = 0;
    });
  });

  it('is silent in the middle of a round, goes on by itself', async () => {
    await runOverFault(federation, 'silent', async (waiting) => {
      fail(100_000, /^/, { kind: 'silent' });
      expect(await expectOutage(federation, waiting)).toMatchObject({ database: 'ok' });
      s3.faults.length = 0;
    });
  });

  it('is silent while a worker folds: the worker ends in order all the same', async () => {
    const [worker] = service.workers;
    await runOverFault(federation, 'silent at the end', async (waiting) => {
      if (waiting) return;
      fail(100_000, /^/, { kind: 'silent' });
      const before = s3.faults.length;
      await waitUntil('the worker asks for its blobs', () => s3.faults.length < before);
      await worker!.stop();
      expect(await worker!.ended()).toBe(null);
      s3.faults.length = 0;
      await worker!.start();
    });
  });

  it('did all that lost nothing', async () => {
    await federation.settle();
    await checkInvariants(federation);
  });
});

describe('an API and a worker whose folder of blobs', { timeout: 120_000 }, () => {
  let service: Replicas;
  let federation: Federation;
  let folder: string;
  beforeAll(async () => {
    service = await startReplicas({ api: 1, workers: 1 });
    federation = await createFederation(service, 4);
    folder = join(service.dataDir, 'blobs');
  });
  afterAll(async () => {
    await service?.close();
  });

  /** A round of all, of which nothing is folded yet: the worker is away. */
  async function collect(model: string) {
    const [worker] = service.workers;
    const count = federation.devices.length;
    await federation.createModel(model);
    const settings = { ...patient, rounds: 1, quorum: count, capacity: count };
    const run = await federation.startRun(model, settings);
    const invited = await federation.invitedTo(run.id, count);
    await worker!.stop();
    const finish = async () => {
      expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 1 });
      await expectAllFolded(federation, await federation.rounds(run.id));
      await expectAlive(service.members);
      await checkInvariants(federation);
    };
    return { worker: worker!, invited, finish };
  }

  it('cannot be read for a while: the fold waits, no update is rejected', async () => {
    const { worker, invited, finish } = await collect('unreadable');
    await contributeAll(federation, invited);
    const updates = join(folder, 'update');
    const names = await readdir(updates);
    const away = join(service.dataDir, 'away');
    await mkdir(away);
    for (const name of names) {
      await rename(join(updates, name), join(away, name));
      // Opening a link to itself is an error of the system, whoever asks.
      await symlink(name, join(updates, name));
    }
    await worker.start();
    await waitUntil('the fold fails', () => /ELOOP/.test(service.logs()));
    for (const name of names) {
      await rm(join(updates, name));
      await rename(join(away, name), join(updates, name));
    }
    await finish();
  });

  it('is not mounted for a while: nothing counts as lost, nothing is taken', async () => {
    const { worker, invited, finish } = await collect('unmounted');
    await contributeAll(federation, invited.slice(0, 2));
    const volume = join(service.dataDir, 'volume');
    await rename(folder, volume);
    await mkdir(join(folder, '.tmp'), { recursive: true });
    await worker.start();
    expect(await expectOutage(federation, invited[2]!)).toMatchObject({ database: 'ok', blobs: 'missing' });
    await waitUntil('the worker asks for its blobs', () => /is its volume mounted/.test(service.logs()));
    await rm(folder, { recursive: true });
    await rename(volume, folder);
    await contributeAll(federation, invited.slice(2));
    await finish();
  });
});

describe('an API and a worker whose disk', { timeout: 120_000 }, () => {
  let disk: SmallDisk | undefined;
  let service: Replicas | undefined;
  beforeAll(() => {
    disk = mountSmallDisk(16);
  });
  afterAll(async () => {
    await service?.close();
    disk?.close();
  });

  it('is full in the middle of a round, goes on by itself', async (context) => {
    if (!disk) return context.skip('no file system can be mounted here: it needs root');
    const { path, fill, free } = disk;
    service = await startReplicas({ api: 1, workers: 1 }, {}, path);
    const federation = await createFederation(service, 4);
    await runOverFault(federation, 'full', async (waiting) => {
      await fill();
      expect(await expectOutage(federation, waiting)).toMatchObject({ database: 'ok', blobs: 'failed' });
      await free();
    });
    expect(service.logs()).toMatch(/ENOSPC/);
    await checkInvariants(federation);
  });
});
