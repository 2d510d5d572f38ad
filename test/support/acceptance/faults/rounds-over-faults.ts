import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Assignment, Device } from '../devices.ts';
import type { Federation } from '../federations.ts';
import type { Round, Update } from '../operators.ts';
import { assertOutage, rawHeaders, send } from '../requests.ts';
import type { Member } from '../services.ts';
import { waitFor } from '../waiting.ts';

export interface Invited {
  device: Device;
  assignment: Assignment;
}

/** Longer than any fault, so that no round fails for want of time. */
export const patient = { deadlineMs: 120_000, pendingMs: 120_000, presenceMs: 600_000 };

/**
 * Two rounds of all devices. In the first, a fault comes when half of the updates are in, and the others are sent into
 * it, but for one that waits until it is over; in the second, it comes as soon as the last update is acknowledged.
 * Devices see nothing but answers and outages, every update that was acknowledged is folded, and no process has died.
 */
export async function runOverFault(
  federation: Federation,
  name: string,
  fault: (waiting?: Invited) => Promise<void>,
): Promise<void> {
  const { devices, service } = federation;
  // Of its own for each try of the test.
  const model = `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${randomUUID().slice(0, 8)}`;
  const count = devices.length;
  await federation.createModel(model);
  const run = await federation.startRun(model, { ...patient, rounds: 2, quorum: count, capacity: count });
  const first = await federation.invitedTo(run.id, count);
  await contributeAll(federation, first.slice(0, count / 2));
  const [waiting, ...others] = first.slice(count / 2);
  await Promise.all([fault(waiting), contributeAll(federation, others)]);
  await contributeAll(federation, [waiting!]);
  const second = await invitedToNext(federation, first[0]!.assignment);
  await contributeAll(federation, second);
  await fault();
  expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
  await expectAllFolded(federation, await federation.rounds(run.id));
  await expectAlive(service.members);
}

export async function contributeAll(federation: Federation, invited: readonly Invited[]): Promise<void> {
  const receipts = await Promise.all(
    invited.map(({ device, assignment }) => federation.contribute(device, assignment)),
  );
  expect(receipts).not.toContain(undefined);
}

/** Who waits is woken, or looks again, until the round after that of `before` has come. */
async function invitedToNext({ devices }: Federation, before: Assignment) {
  return Promise.all(
    devices.map(async (device) => {
      for (;;) {
        const assignment = await device.poll(20);
        if (assignment?.run === before.run && assignment.round !== before.round)
          return { device, assignment };
      }
    }),
  );
}

export async function expectAllFolded(
  { operator, devices }: Federation,
  rounds: readonly Round[],
): Promise<void> {
  for (const { id } of rounds) {
    const updates = await operator.list<Update>(`/v1/rounds/${id}/updates`);
    expect(updates.map(({ state }) => state)).toEqual(devices.map(() => 'folded'));
  }
}

/** The server says that it is not ready, that it cannot take the update of who waits, and when to ask again. */
export async function expectOutage(
  federation: Federation,
  waiting?: Invited,
): Promise<Record<string, string>> {
  const { service } = federation;
  const ready = await waitFor('the server is not ready', async () => {
    const answer = await send(service.url(), { method: 'GET', path: '/readyz' });
    return answer.status === 200 ? undefined : answer;
  });
  assertOutage(ready);
  if (waiting) await expectNotTaken(federation, waiting);
  return ready.json<{ checks: Record<string, string> }>().checks;
}

/** The server says that it cannot take the update of who waits, and when to send it again. */
export async function expectNotTaken(
  { service, train }: Federation,
  { device, assignment }: Invited,
): Promise<void> {
  const { file: body } = await train(assignment);
  const headers = { ...rawHeaders(body), authorization: `Bearer ${await device.token()}` };
  const path = assignment.update!.url;
  const answer = await send(service.url(), { method: 'PUT', path, body, headers });
  assertOutage(answer);
  expect(answer.json()).toMatchObject({ code: 'unavailable' });
}

export async function expectAlive(members: readonly Member[]): Promise<void> {
  for (const member of members) {
    const end = await Promise.race([member.ended(), Promise.resolve('it runs')]);
    expect(end, member.role).toBe('it runs');
  }
}
