import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestApp, type TestApp } from '../support/app.ts';

let t: TestApp;
beforeAll(async () => {
  t = await createTestApp();
});
afterAll(() => t.close());

it('shows a device itself', async () => {
  const device = await t.enrolDevice({ name: 'a', properties: { memoryMb: 3 } });
  const response = await t.app.request('/v1/devices/me', { headers: device.headers });
  expect(await response.json()).toMatchObject({ id: device.id, state: 'active' });
});
