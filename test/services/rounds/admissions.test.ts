import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bodyOf, type ReadBody } from '../../../api/domain/body.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import { beginUpload } from '../../../api/services/rounds/uploads.ts';
import { newId } from '../../../api/store/ids.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import {
  createTestWorker,
  declare,
  encodeUpdate,
  openAssignments,
  seedFederation,
  sendUpdate,
} from '../../support/rounds/rounds.ts';

/* The counter of what became of updates, by every word that it has for it. */

let test: TestApp;
let worker: ReturnType<typeof createTestWorker>;
beforeEach(async () => {
  test = await createTestApp();
  worker = createTestWorker(test.deps);
});
afterEach(async () => {
  await worker.close();
  await test.close();
});

type Open = Awaited<ReturnType<typeof openAssignments>>[number];

const ones = Array<number>(8).fill(1);
const twos = Array<number>(8).fill(2);

/** As Prometheus reads it: the value of every series. */
async function counted(): Promise<Record<string, number>> {
  const text = await test.deps.metrics.registry.getSingleMetricAsString('fededge_admissions_total');
  const samples = text.matchAll(/^fededge_admissions_total\{admission="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...samples].map(([, admission, value]) => [admission, Number(value)]));
}

async function openRound(settings: { quorum: number; capacity: number }, devices = 8): Promise<Open[]> {
  const seeded = await seedFederation(test.deps, { devices, settings });
  await worker.turn();
  return openAssignments(test.deps, seeded.devices);
}

const send = (open: Open, file: Buffer, digest?: string) =>
  submitUpdate(test.deps, open.device, open.id, declare(file, digest));

it('counts what is accepted, and what is sent once more', async () => {
  const [first, second] = await openRound({ quorum: 2, capacity: 3 });
  await sendUpdate(test.deps, first!, ones);
  await sendUpdate(test.deps, second!, ones);
  expect(await counted()).toEqual({ accepted: 2 });
  await sendUpdate(test.deps, first!, ones);
  expect(await counted()).toEqual({ accepted: 2, duplicate: 1 });
});

it.for<[refusal: string, send: (open: Open[]) => Promise<unknown>]>([
  [
    'late',
    (open) => {
      test.clock.advance(60_000);
      return sendUpdate(test.deps, open[2]!, ones);
    },
  ],
  ['full', (open) => sendUpdate(test.deps, open[2]!, ones)],
  [
    'not_in_cohort',
    async ([, , third]) => {
      await returnAssignment(test.deps, third!.device, third!.id, 'battery');
      return sendUpdate(test.deps, third!, ones);
    },
  ],
  ['update_conflict', ([first]) => sendUpdate(test.deps, first!, twos)],
  ['malformed', (open) => send(open[2]!, Buffer.alloc(encodeUpdate(ones).length))],
  ['digest_mismatch', (open) => send(open[2]!, encodeUpdate(ones), '0'.repeat(64))],
  ['too_large', (open) => send(open[2]!, Buffer.alloc(2_000_000))],
  ['not_found', ([first]) => send({ ...first!, id: newId(test.clock.now()) }, encodeUpdate(ones))],
])('counts what is refused as %s, and as nothing else', async ([refusal, sendRefused]) => {
  const open = await openRound({ quorum: 2, capacity: refusal === 'full' ? 2 : 4 });
  for (const each of open.slice(0, 2)) await sendUpdate(test.deps, each, ones);
  await expect(sendRefused(open)).rejects.toMatchObject({ code: refusal });
  expect(await counted()).toEqual({ accepted: 2, [refusal]: 1 });
});

it('an update whose round fills while it waits for its turn is refused unread', async () => {
  const [first, second, third] = await openRound({ quorum: 2, capacity: 2 });
  const turn = Promise.withResolvers<void>();
  const file = encodeUpdate(ones);
  let isRead = false;
  const body = bodyOf(async function* () {
    isRead = true;
    yield file;
  });
  const waiting: ReadBody = async function* (...args) {
    await turn.promise;
    yield* body(...args);
  };
  const sent = submitUpdate(test.deps, third!.device, third!.id, { ...declare(file), body: waiting });
  sent.catch(() => undefined);
  for (const each of [first!, second!]) await sendUpdate(test.deps, each, ones);
  await setTimeout(200);
  turn.resolve();
  await expect(sent).rejects.toMatchObject({ code: 'full' });
  expect(isRead).toBe(false);
  expect(await counted()).toEqual({ accepted: 2, full: 1 });
});

it('counts what failed on our side', async () => {
  const [first] = await openRound({ quorum: 2, capacity: 3 });
  const failing = {
    ...test.deps,
    failpoint: async () => {
      throw new Error('as if the process was broken');
    },
  };
  const sent = submitUpdate(failing, first!.device, first!.id, declare(encodeUpdate(ones)));
  await expect(sent).rejects.toThrow('broken');
  expect(await counted()).toEqual({ failed: 1 });
});

it('counts what is refused or known before its first part is sent, and nothing for what is welcome', async () => {
  const [first, second, third] = await openRound({ quorum: 2, capacity: 2 });
  const begin = ({ device, id }: Open, values: readonly number[]) => {
    const { bytes, digest } = declare(encodeUpdate(values));
    return beginUpload(test.deps, device, id, { bytes, digest });
  };
  await begin(first!, ones);
  expect(await counted()).toEqual({});
  for (const each of [first!, second!]) await sendUpdate(test.deps, each, ones);
  expect(await begin(first!, ones)).toMatchObject({ receipt: { status: 'duplicate' } });
  await expect(begin(third!, ones)).rejects.toMatchObject({ code: 'full' });
  await expect(begin(first!, twos)).rejects.toMatchObject({ code: 'update_conflict' });
  expect(await counted()).toEqual({ accepted: 2, duplicate: 1, full: 1, update_conflict: 1 });
});
