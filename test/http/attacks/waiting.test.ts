import { afterAll, beforeAll, expect, it } from 'vitest';
import { createApp } from '../../../api/http/app.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { revokeDevice } from '../../../api/services/identity/devices.ts';
import { createTestApp, type EnrolledDevice, type TestApp } from '../../support/app.ts';

/*
 * A poll that began with good credentials does not outlive them (OWASP API2:2023). They wait for 60 s, longer than these
 * tests may take.
 */

let t: TestApp;

beforeAll(async () => {
  t = await createTestApp();
});
afterAll(() => t?.close());

const poll = ({ headers }: EnrolledDevice, app: TestApp['app']) =>
  app.request('/v1/assignment?wait=60', { headers });

async function arrived({ id }: EnrolledDevice): Promise<void> {
  for (;;) {
    const [row] = await t.deps.db.client`select last_seen_at from devices where id = ${id}`;
    if (row!.last_seen_at) return;
  }
}

it('ends the poll of a device that is revoked', async () => {
  const device = await t.enrolDevice();
  const other = await t.enrolDevice();
  const hangUp = new AbortController();
  const polling = poll(device, t.app);
  const stays = t.app.request('/v1/assignment?wait=60', { headers: other.headers, signal: hangUp.signal });
  await Promise.all([arrived(device), arrived(other)]);
  await revokeDevice(t.deps, systemPrincipal, device.id);
  expect((await polling).status).toBe(204);
  expect(await Promise.race([stays, Promise.resolve('still waiting')])).toBe('still waiting');
  hangUp.abort();
  await stays;
});

it('ends it within 5 s on a replica that hears of nothing', async () => {
  const device = await t.enrolDevice();
  const deaf = createApp({ ...t.deps, listener: { subscribe: () => () => {} } });
  const polling = poll(device, deaf);
  await arrived(device);
  await revokeDevice(t.deps, systemPrincipal, device.id);
  expect((await polling).status).toBe(204);
});
