import { Writable } from 'node:stream';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, jsonRequest, registrationOf, sendAssertion } from '../../support/app.ts';
import { createDeviceKey, signAssertion } from '../../support/identity/device-keys.ts';

it('writes no secret to the log, not even when the database is gone', async () => {
  const lines: string[] = [];
  const stream = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const t = await createTestApp({ log: pino({ level: 'trace' }, stream) });
  try {
    const operator = await t.operator();
    const enrollmentToken = await t.enrollmentToken();
    const key = await createDeviceKey();
    const registration = await registrationOf(t.deps, key, enrollmentToken);
    const registered = await answerOf(t.app.request('/v1/devices', jsonRequest('POST', registration)));
    const assertion = async () =>
      signAssertion(key, {
        aud: t.deps.publicUrl,
        deviceId: registered.body.id as string,
        now: t.clock.now(),
      });
    const assertions = [await assertion(), await assertion()];
    const issued = await answerOf(sendAssertion(t.app, assertions[0]!));
    const device = { authorization: `Bearer ${issued.body.access_token}` };
    const created = await answerOf(
      t.app.request('/v1/operator-keys', jsonRequest('POST', { name: 'x', role: 'viewer' }, operator)),
    );
    const secrets = [
      operator.authorization,
      device.authorization,
      `Bearer ${created.body.key}`,
      enrollmentToken,
      registration.proof,
      ...assertions,
    ];
    expect((await t.app.request('/v1/devices/me', { headers: device })).status).toBe(200);

    await t.deps.db.client.end();
    t.clock.advance(60_000);
    const failures = await Promise.all([
      t.app.request('/v1/devices', { headers: operator }),
      t.app.request('/v1/devices/me', { headers: device }),
      t.app.request('/v1/devices', jsonRequest('POST', registration)),
      sendAssertion(t.app, assertions[1]!),
      t.app.request('/v1/devices', { headers: { authorization: `Bearer ${created.body.key}` } }),
    ]);
    expect(failures.map(({ status }) => status)).toEqual([503, 503, 503, 503, 503]);
    const log = lines.join('');
    expect(log).toContain('unavailable');
    expect(lines.length).toBeGreaterThan(8);
    for (const secret of secrets) {
      const bare = secret.replace(/^Bearer /, '');
      expect(log).not.toContain(bare);
      expect(log).not.toContain(bare.slice(-20));
    }
  } finally {
    await t.close();
  }
});
