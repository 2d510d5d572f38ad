import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createApp } from '../../../api/http/app.ts';
import { createLogger } from '../../../api/logging.ts';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  jsonRequest,
  registrationOf,
  sendAssertion,
  type TestApp,
} from '../../support/app.ts';
import { createDeviceKey } from '../../support/identity/device-keys.ts';
import { claimsOf, trusting } from '../../support/identity/oidc-app.ts';
import { startTestIssuer, type TestIssuer } from '../../support/identity/oidc-issuer.ts';

let t: TestApp;
let issuer: TestIssuer;

beforeAll(async () => {
  t = await createTestApp();
  issuer = await startTestIssuer();
});
afterAll(async () => {
  await issuer?.close();
  await t?.close();
});

it('no refusal, log line or row repeats a secret (CWE-209, CWE-532)', async () => {
  const lines: string[] = [];
  const log = createLogger(
    'trace',
    new Writable({
      write(chunk, _, done) {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  const deps = { ...(await trusting(t, issuer)), log };
  const app = createApp(deps);
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const good = await issuer.sign(claimsOf(t, issuer));
  const wrong = await issuer.sign(claimsOf(t, issuer, { aud: 'other' }));
  const weak = await issuer.sign(claimsOf(t, issuer, { groups: ['nobody'] }));
  const device = await t.enrolDevice();
  const enrollmentToken = await t.enrollmentToken();
  const registration = await registrationOf(t.deps, await createDeviceKey(), enrollmentToken);
  const unknown = { ...registration, enrollmentToken: 'fedenr_unknown-but-secret-of-somebody-else' };
  const made = await answerOf(
    app.request(
      '/v1/operator-keys',
      jsonRequest('POST', { name: 'x', role: 'viewer' }, { ...bearer(good), 'idempotency-key': 'leak' }),
    ),
  );
  const key = made.body.key as string;
  const refusals = await Promise.all([
    app.request('/v1/devices', { headers: bearer(wrong) }),
    app.request('/v1/devices', { headers: bearer(weak) }),
    app.request('/v1/devices', { headers: bearer(`${key}x`) }),
    app.request('/v1/enrollment-tokens', jsonRequest('POST', { name: 'x' }, bearer(key))),
    app.request(
      '/v1/devices',
      jsonRequest('POST', { ...registration, key: { kty: 'EC', d: 'private-part' } }),
    ),
    app.request('/v1/devices', jsonRequest('POST', unknown)),
    sendAssertion(app, registration.proof),
    app.request(`/v1/devices?cursor=${key}`, { headers: bearer(good) }),
    app.request(`/v1/devices/me?access_token=${good}`),
  ]);
  expect(refusals.every(({ status }) => status >= 400 && status < 500)).toBe(true);
  const answers = await Promise.all(refusals.map((refusal) => refusal.text()));
  issuer.mood = 'failing';
  t.clock.advance(700_000);
  await app.request('/v1/devices', { headers: bearer(good) });
  const audit = await t.deps.db.client`select actor, action, target, details from audit_entries`;
  const tables = ['operator_keys', 'enrollment_tokens', 'devices', 'used_assertions', 'idempotency_keys'];
  const { client } = t.deps.db;
  const rows = await Promise.all(tables.map((table) => client`select * from ${client(table)}`));
  expect(rows.every((found) => found.length > 0)).toBe(true);
  expect(lines.length).toBeGreaterThan(refusals.length);
  expect(audit.some(({ actor }) => actor === `oidc:${issuer.url}|ada`)).toBe(true);
  const told = [...answers, ...lines, JSON.stringify(audit), JSON.stringify(rows)].join('\n');
  const secrets = [
    good,
    wrong,
    weak,
    key,
    enrollmentToken,
    unknown.enrollmentToken,
    registration.proof,
    device.headers.authorization,
  ];
  for (const secret of [...secrets, 'private-part']) {
    expect(told).not.toContain(secret);
    expect(told).not.toContain(secret.slice(-20));
  }
});
