import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eraseDueDevices } from '../../../api/services/identity/erasures.ts';
import { beginUpload } from '../../../api/services/rounds/uploads.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { auditEntries, deviceKeys, devices, updates, uploads } from '../../../api/store/schema.ts';
import {
  createTestApp,
  jsonRequest,
  type RequestHeaders,
  registrationOf,
  requestToken,
  type TestApp,
} from '../../support/app.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
});
afterAll(() => test?.close());

const erase = (id: string, headers = operator) =>
  test.app.request(`/v1/devices/${id}`, { method: 'DELETE', headers });
const show = async (id: string) =>
  (await (await test.app.request(`/v1/devices/${id}`, { headers: operator })).json()) as Record<
    string,
    unknown
  >;

describe('erasing a device', () => {
  it('leaves a pseudonym, refuses its key for ever, and can be repeated', async () => {
    const token = await test.enrollmentToken();
    const device = await test.enrolDevice({ name: 'Ada at home', properties: { memoryMb: 512 } });
    const label = jsonRequest('PATCH', { name: 'Ada upstairs', labels: { who: 'Ada' } }, operator);
    await test.app.request(`/v1/devices/${device.id}`, label);
    const first = await erase(device.id);
    expect(first.status).toBe(202);
    const asked = (await first.json()) as Record<string, unknown>;
    expect(asked).toMatchObject({ state: 'revoked', eraseRequestedAt: expect.any(String) });
    expect(await eraseDueDevices(test.deps)).toBe(1);
    expect(await show(device.id)).toMatchObject({
      name: 'erased',
      labels: {},
      properties: {},
      state: 'revoked',
      eraseRequestedAt: asked.eraseRequestedAt,
      erasedAt: expect.any(String),
    });
    test.clock.advance(1000);
    expect((await (await erase(device.id)).json()) as object).toMatchObject({
      eraseRequestedAt: asked.eraseRequestedAt,
    });
    expect(await eraseDueDevices(test.deps)).toBe(0);
    expect((await requestToken(test.app, test.deps, device)).status).toBe(401);
    const again = await registrationOf(test.deps, device.key, token);
    const refused = await test.app.request('/v1/devices', jsonRequest('POST', again));
    expect([refused.status, await refused.json()]).toMatchObject([403, { code: 'key_refused' }]);
    const { pool } = test.deps.db;
    const keys = await pool.select().from(deviceKeys).where(eq(deviceKeys.deviceId, device.id));
    expect(keys.map(({ jwk, state }) => ({ jwk, state }))).toEqual([{ jwk: {}, state: 'replaced' }]);
    const target = `device:${device.id}`;
    const entries = await pool.select().from(auditEntries).where(eq(auditEntries.target, target));
    expect(entries.map(({ action }) => action)).toEqual([
      'device.register',
      'device.update',
      'device.revoke',
      'device.erase',
      'device.erased',
    ]);
    expect(JSON.stringify(entries)).not.toContain('Ada');
    const everything = await pool.select().from(devices).where(eq(devices.id, device.id));
    expect(JSON.stringify(everything)).not.toContain('Ada');
  });

  it('waits until the rounds that the device has a part in are over, then takes its files', async () => {
    const { deps } = test;
    const { runId, devices: members } = await seedFederation(deps, {
      devices: 2,
      settings: { quorum: 2, capacity: 2, retainUpdates: true },
      labels: { run: 'erase' },
    });
    const worker = createTestWorker(deps);
    await worker.turn();
    const [one, other] = await openAssignments(deps, members);
    await sendUpdate(deps, one!, [1, 1, 1, 1, 1, 1, 1, 1]);
    expect((await erase(one!.device.id)).status).toBe(202);
    await worker.turn(1);
    expect(await eraseDueDevices(deps)).toBe(0);
    await sendUpdate(deps, other!, [1, 1, 1, 1, 1, 1, 1, 1]);
    await worker.turn();
    const [round] = await view.rounds(deps, runId);
    expect(round?.state).toBe('completed');
    expect(await eraseDueDevices(deps)).toBe(1);
    await sweepBlobs(deps);
    const kept = await view.updates(deps, round!.id);
    const left = await Promise.all(
      kept.map(async ({ deviceId, blobKey, state, numExamples }) => ({
        isErased: deviceId === one!.device.id,
        stored: (await deps.blobs.size(blobKey)) !== undefined,
        state,
        numExamples,
      })),
    );
    expect(left).toEqual([
      { isErased: true, stored: false, state: 'folded', numExamples: 1 },
      { isErased: false, stored: true, state: 'folded', numExamples: 1 },
    ]);
    const [row] = await deps.db.pool.select().from(updates).where(eq(updates.deviceId, one!.device.id));
    expect(row).toMatchObject({ metrics: {}, retainedUntil: null });
    expect(await findFaults(deps)).toEqual([]);
    await worker.close();
  });

  it('ends uploads that are under way', async () => {
    const { deps } = test;
    const { devices: members } = await seedFederation(deps, {
      devices: 1,
      settings: { quorum: 1, capacity: 1 },
      labels: { run: 'uploading' },
    });
    const worker = createTestWorker(deps);
    await worker.turn();
    const [mine] = await openAssignments(deps, members);
    await beginUpload(deps, mine!.device, mine!.id, { bytes: 200, digest: 'a'.repeat(64) });
    await erase(mine!.device.id);
    test.clock.advance(120_000);
    await worker.turn();
    expect(await eraseDueDevices(deps)).toBe(1);
    expect(await deps.db.pool.select().from(uploads).where(eq(uploads.deviceId, mine!.device.id))).toEqual(
      [],
    );
    await worker.close();
  });

  it('is for operators, and for devices that there are', async () => {
    const device = await test.enrolDevice();
    expect((await erase(device.id, await test.operator('viewer'))).status).toBe(403);
    expect((await erase('0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44')).status).toBe(404);
    expect((await show(device.id)).state).toBe('active');
  });
});
