import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { createApp } from '../../../api/http/app.ts';
import { loadTokenKeys } from '../../../api/services/identity/token-keys.ts';
import { createTestApp, type EnrolledDevice, requestToken, type TestApp } from '../../support/app.ts';

const REQUESTS = 40;
let t: TestApp;
let devices: EnrolledDevice[];

beforeAll(async () => {
  t = await createTestApp();
  devices = [await t.enrolDevice(), await t.enrolDevice({ algorithm: 'EdDSA' })];
});
afterAll(() => t?.close());

async function makeKey(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid };
}

it('rotate with overlap, replica by replica and under load, without a request that fails', async () => {
  const others = [await t.replica(), await t.replica()].map(({ deps }) => deps);
  const [old, next] = [await makeKey('old'), await makeKey('next')];
  const served: { app: TestApp['app']; kid: string }[] = [];
  const restart = async (index: number, keys: JWK[]) => {
    const dataDir = t.deps.config.dataDir;
    const file = join(dataDir, 'rotating.json');
    await writeFile(file, JSON.stringify({ keys }));
    const deps: Deps = { ...others[index]!, keys: await loadTokenKeys({ dataDir, file }) };
    served[index] = { app: createApp(deps), kid: deps.keys.signing.kid };
  };
  const issued: string[] = [];
  const failures: string[] = [];
  /** Tokens of either replica, and all that live, at either replica; the clock goes on by `seconds`. */
  const load = async (stage: string, seconds: number) => {
    const tokens = await Promise.all(
      Array.from({ length: REQUESTS }, async (_, i) => {
        const answer = await requestToken(served[i % 2]!.app, t.deps, devices[(i >> 1) % 2]!);
        if (answer.status !== 200) failures.push(`${stage}: ${await answer.text()}`);
        return ((await answer.json()) as { access_token: string }).access_token;
      }),
    );
    issued.push(...tokens);
    for (const { app } of served) {
      const answers = await Promise.all(
        issued.map((token) =>
          app.request('/v1/devices/me', { headers: { authorization: `Bearer ${token}` } }),
        ),
      );
      failures.push(
        ...answers.filter(({ status }) => status !== 200).map(({ status }) => `${stage}: ${status}`),
      );
    }
    t.clock.advance(seconds * 1000);
  };
  const stages: [string, JWK[], seconds: number][] = [
    ['the old key', [old], 0],
    ['the new one verifies', [old, next], 60],
    ['the new one signs', [next, old], 60],
  ];
  for (const [stage, keys, seconds] of stages) {
    for (const index of [0, 1]) {
      await restart(index, keys);
      if (served.length === 2) await load(`${stage} at ${index}`, seconds);
    }
  }
  expect(served.map(({ kid }) => kid)).toEqual(['next', 'next']);
  // Ten minutes later nothing lives that the old key has signed.
  t.clock.advance(600_000);
  issued.length = 0;
  for (const index of [0, 1]) {
    await restart(index, [next]);
    await load(`the old one is gone at ${index}`, 0);
  }
  expect(failures).toEqual([]);
});
