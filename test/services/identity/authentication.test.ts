import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { authenticate } from '../../../api/services/identity/authentication.ts';
import { createCredentialCache } from '../../../api/store/identity/credential-cache.ts';
import { createTestApp, type EnrolledDevice, type TestApp } from '../../support/app.ts';

const DEVICES = 30;

let test: TestApp;
let devices: EnrolledDevice[];

beforeAll(async () => {
  test = await createTestApp();
  devices = await Promise.all(Array.from({ length: DEVICES }, () => test.enrolDevice()));
});
afterAll(() => test?.close());

/** A replica that remembers nothing yet, and counts what it asks. */
function replica(): { deps: Deps; asked(): number } {
  let asked = 0;
  const pool = new Proxy(test.deps.db.pool, {
    get: (target, name) => {
      if (name === 'select') asked += 1;
      return Reflect.get(target, name);
    },
  });
  const credentials = createCredentialCache(test.deps.listener);
  return { deps: { ...test.deps, db: { ...test.deps.db, pool }, credentials }, asked: () => asked };
}

const tell = (deps: Deps, authorization: string | undefined) =>
  authenticate(deps, authorization, 'device').then(
    ({ id }) => id,
    (error: { code: string }) => error.code,
  );

it('devices that come at once are looked up together, each by its own key', async () => {
  const { deps, asked } = replica();
  const told = await Promise.all(devices.map(({ headers }) => tell(deps, headers.authorization)));
  expect(told).toEqual(devices.map(({ id }) => id));
  expect(asked()).toBeLessThan(DEVICES / 2);
  const before = asked();
  await Promise.all(devices.map(({ headers }) => tell(deps, headers.authorization)));
  expect(asked()).toBe(before);
});

it('one that is revoked is told so among others', async () => {
  const { deps } = replica();
  const [first, second, third] = devices as [EnrolledDevice, EnrolledDevice, EnrolledDevice];
  await test.deps.db.client`update devices set state = 'revoked' where id = ${second.id}`;
  const told = await Promise.all(
    [first, second, third].map(({ headers }) => tell(deps, headers.authorization)),
  );
  expect(told).toEqual([first.id, 'device_revoked', third.id]);
});

it('a key is looked up again after 15 s, though the signature is remembered', async () => {
  const { deps } = replica();
  const device = devices.at(-1)!;
  expect(await tell(deps, device.headers.authorization)).toBe(device.id);
  await test.deps.db.client`update devices set state = 'revoked' where id = ${device.id}`;
  expect(await tell(deps, device.headers.authorization)).toBe(device.id);
  test.clock.advance(15_000);
  expect(await tell(deps, device.headers.authorization)).toBe('device_revoked');
});
