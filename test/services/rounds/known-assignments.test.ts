import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { revokeDevice } from '../../../api/services/identity/devices.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { stopRun } from '../../../api/services/rounds/runs.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import { createWaitingRoom } from '../../../api/services/rounds/waiting-room.ts';
import { channels, notify } from '../../../api/store/journal/channels.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import {
  type DevicePrincipal,
  declare,
  encodeUpdate,
  openAssignments,
  seedFederation,
  sendUpdate,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
let device: DevicePrincipal;
let runId: string;
let assignmentId: string;
beforeEach(async () => {
  test = await createTestApp();
  const settings = { quorum: 2, capacity: 2 };
  const seeded = await seedFederation(test.deps, { devices: 3, settings });
  await advanceRounds(test.deps);
  runId = seeded.runId;
  const [open] = await openAssignments(test.deps, seeded.devices);
  ({ device, id: assignmentId } = open!);
  await hearWhatWasSaid();
});
afterEach(() => test.close());

/** Announcements come in their order: after ours, none of those that the preparations made is still under way. */
async function hearWhatWasSaid(): Promise<void> {
  const { listener, db } = test.deps;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = listener.subscribe(channels.events, (payload) => payload === 'ours' && resolve());
  await notify(db.pool, channels.events, 'ours');
  await promise;
  stop();
}

const values = [1, 2, 3, 4, 5, 6, 7, 8];
const poll = (deps: Deps = test.deps) =>
  createWaitingRoom(deps).wait(device, 0, new AbortController().signal);
const known = ({ credentials, clock }: Deps = test.deps) =>
  credentials.assignments.find(device.id, assignmentId, clock.now());
const file = encodeUpdate(values, 1);

/** A body that tells whether somebody began to read it. */
function watchedBody() {
  const watched = { ...declare(file), isRead: false };
  const { body } = watched;
  return Object.assign(watched, {
    body: (look: Parameters<typeof body>[0]) => {
      watched.isRead = true;
      return body(look);
    },
  });
}

describe('what a replica remembers of an assignment', () => {
  it('is what the device was told, and lets its update in as the tables would', async () => {
    expect(known()).toBeUndefined();
    const told = await poll();
    expect(told).toMatchObject({ status: 'assigned', assignment: { id: assignmentId } });
    expect(known()).toMatchObject('assignment' in told ? told.assignment : {});
    expect(test.deps.credentials.assignments.find(device.id, runId, test.clock.now())).toBeUndefined();
    const receipt = await submitUpdate(test.deps, device, assignmentId, declare(file));
    expect(receipt).toMatchObject({ status: 'accepted', sequence: 1 });
  });

  it('is gone with the acknowledgement: a repeat is answered before its body is read', async () => {
    await poll();
    await sendUpdate(test.deps, { id: assignmentId, device }, values);
    expect(known()).toBeUndefined();
    const again = watchedBody();
    expect(await submitUpdate(test.deps, device, assignmentId, again)).toMatchObject({ status: 'duplicate' });
    expect(again.isRead).toBe(false);
  });

  it('may be wrong where another replica acknowledged: the first receipt all the same', async () => {
    const other = (await test.replica()).deps;
    await poll(other);
    const first = await sendUpdate(test.deps, { id: assignmentId, device }, values);
    expect(known(other)).toBeDefined();
    const receipt = await submitUpdate(other, device, assignmentId, declare(file));
    expect(receipt).toEqual({ ...first, status: 'duplicate' });
    const different = declare(encodeUpdate([...values].reverse(), 1));
    await expect(submitUpdate(other, device, assignmentId, different)).rejects.toMatchObject({
      code: 'update_conflict',
    });
  });

  it('ends with the deadline, when nobody has told of it', async () => {
    await poll();
    const { deadlineAt } = known()!;
    test.clock.set(deadlineAt!);
    expect(known()).toBeUndefined();
    const late = watchedBody();
    await expect(submitUpdate(test.deps, device, assignmentId, late)).rejects.toMatchObject({ code: 'late' });
    expect(late.isRead).toBe(false);
  });

  it.each([
    ['it is given back', () => returnAssignment(test.deps, device, assignmentId, 'busy')],
    ['its run is stopped', () => stopRun(test.deps, systemPrincipal, runId)],
    ['its device is revoked', () => revokeDevice(test.deps, systemPrincipal, device.id)],
  ])('is dropped on every replica when %s', async (_, change) => {
    const other = (await test.replica()).deps;
    await Promise.all([poll(), poll(other)]);
    expect([known(), known(other)]).not.toContain(undefined);
    await change();
    await vi.waitFor(() => expect([known(), known(other)]).toEqual([undefined, undefined]));
  });

  it('is not kept where a change has overtaken the look', async () => {
    const { assignments } = test.deps.credentials;
    const rows = await openAssignments(test.deps, [device]);
    for (const forgotten of [device.id, '']) {
      await assignments.load(test.clock.now(), async () => {
        assignments.forget(forgotten);
        return rows;
      });
      expect(known()).toBeUndefined();
    }
    await assignments.load(test.clock.now(), async () => {
      assignments.forget('another device');
      return rows;
    });
    expect(known()).toBeDefined();
  });
});
