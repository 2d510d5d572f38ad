import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { seconds } from '../../support/identity/device-keys.ts';
import { appTrusting, claimsOf } from '../../support/identity/oidc-app.ts';
import { startTestIssuer, type TestIssuer } from '../../support/identity/oidc-issuer.ts';

let t: TestApp;
let issuer: TestIssuer;
let app: TestApp['app'];

beforeAll(async () => {
  t = await createTestApp();
});
afterAll(() => t?.close());
beforeEach(async () => {
  issuer = await startTestIssuer();
  app = await appTrusting(t, issuer);
});
afterEach(() => issuer.close());

const tokenOf = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
  issuer.sign(claimsOf(t, issuer, changes), header);
const list = async (token: string, at = app) =>
  answerOf(at.request('/v1/devices', { headers: { authorization: `Bearer ${token}` } }));

describe('the keys of an issuer', () => {
  it('are fetched once for many requests at the same moment', async () => {
    const token = await tokenOf();
    const answers = await Promise.all(Array.from({ length: 16 }, () => list(token)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(issuer.asked).toBe(1);
  });

  it('change while requests are served, without one that fails', async () => {
    expect((await list(await tokenOf())).status).toBe(200);
    const tokens = [await tokenOf()];
    for (const kid of ['second', 'third']) {
      await issuer.rotate(kid, 'stay');
      tokens.push(await tokenOf());
      t.clock.advance(5000);
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, i) => list(tokens[i % tokens.length]!)),
      );
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    }
    expect(issuer.asked).toBe(3);
  });

  it('that it withdraws are refused 10 minutes later', async () => {
    const token = await tokenOf();
    expect((await list(token)).status).toBe(200);
    await issuer.rotate('second', 'go');
    t.clock.advance(601_000);
    // Behind the request that finds them old.
    await list(token);
    await vi.waitFor(async () => expect((await list(token)).status).toBe(401));
  });

  it('are asked for at most every 5 s by tokens with made-up kids', async () => {
    await list(await tokenOf());
    const forged = await Promise.all(
      Array.from({ length: 8 }, (_, i) => tokenOf({}, { kid: `made up ${i}` })),
    );
    for (const token of forged) expect((await list(token)).status).toBe(401);
    expect(issuer.asked).toBe(1);
    t.clock.advance(5000);
    for (const token of forged) expect((await list(token)).status).toBe(401);
    expect(issuer.asked).toBe(2);
  });

  it.each(['down', 'failing', 'silent', 'redirecting', 'endless', 'garbled'] as const)(
    'go on for a day while it is %s, and an unknown kid is a 401',
    async (mood) => {
      app = await appTrusting(t, issuer, { jwksUri: issuer.jwksUri });
      const token = () => tokenOf({ exp: seconds(t.clock.now()) + 60 });
      expect((await list(await token())).status).toBe(200);
      issuer.mood = mood;
      const asked = issuer.asked;
      t.clock.advance(3_600_000);
      for (let i = 0; i < 4; i++) expect((await list(await token())).status).toBe(200);
      await vi.waitFor(() => expect(issuer.asked).toBe(asked + 1));
      t.clock.advance(5000);
      expect((await list(await tokenOf({}, { kid: 'new' }))).status).toBe(401);
      t.clock.advance(23 * 3_600_000);
      expect(await list(await token())).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    },
  );

  it('that were never to be had make 503, and nobody else suffers', async () => {
    issuer.mood = 'down';
    const device = await t.enrolDevice();
    expect(await list(await tokenOf())).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect((await app.request('/v1/devices/me', { headers: device.headers })).status).toBe(200);
    expect((await app.request('/v1/devices', { headers: await t.operator() })).status).toBe(200);
    issuer.mood = 'fine';
    t.clock.advance(5000);
    expect((await list(await tokenOf())).status).toBe(200);
  });

  it('come from jwksUri where it is configured, without discovery', async () => {
    issuer.document = { issuer: 'https://nobody.test' };
    const direct = await appTrusting(t, issuer, { jwksUri: issuer.jwksUri });
    expect((await list(await tokenOf(), direct)).status).toBe(200);
  });

  it.each([
    ['of another issuer (OIDC Discovery 4.3)', { issuer: 'https://other.test' }],
    ['that names a file', { jwks_uri: 'file:///etc/passwd' }],
    ['that names nothing', { jwks_uri: undefined }],
    ['that names no URL', { jwks_uri: 7 }],
  ])('are not taken from a discovery document %s', async (_, document) => {
    issuer.document = document;
    expect((await list(await tokenOf())).status).toBe(503);
    expect(issuer.asked).toBe(0);
  });
});
