import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../api/config.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { createObjects } from '../../support/objects.ts';
import { fuzz, mayBeMissing, prepareSchemathesis } from '../../support/schemathesis/schemathesis.ts';

/** Together at least 5,000 requests in a run of the tests; more by FEDEDGE_TEST_FUZZ_EXAMPLES. */
const EXAMPLES = Number(process.env.FEDEDGE_TEST_FUZZ_EXAMPLES ?? 25);
/** The same requests in every run of the tests, others in every night: FEDEDGE_TEST_FUZZ_SEED. */
const SEED = Number(process.env.FEDEDGE_TEST_FUZZ_SEED ?? 0);
const LEAST_CASES = 5000;
const MINUTES = 60_000;
/** For one caller: 25 examples take a minute, and so does what comes before them. */
const timeoutMs = (10 + EXAMPLES / 10) * MINUTES;
/** It has no end. */
const without = ['followEvents'];

/** What was answered with 2xx: METHOD PATH. */
const successes = new Set<string>();
let test: TestApp;
let server: Listening;
let environment: string | undefined;
let missing = '';
beforeAll(async () => {
  environment = await prepareSchemathesis().catch((error: { stderr?: string; message: string }) => {
    missing = (error.stderr || error.message).trim().split('\n').at(-1)!;
    if (!mayBeMissing(process.env)) throw new Error(`no Schemathesis: ${missing}`, { cause: error });
    return undefined;
  });
  const off = ['ADDRESS', 'TOKENS', 'DEVICE', 'OPERATOR'].map((name) => [`FEDEDGE_LIMIT_${name}`, 'off']);
  test = await createTestApp({ config: loadConfig(Object.fromEntries(off)) });
  const counted: Pick<TestApp['app'], 'fetch'> = {
    fetch: async (request, env) => {
      const response = await test.app.fetch(request, env);
      const path = new URL(request.url).pathname.replaceAll(/[0-9a-f-]{36}|model-\w+/g, '*');
      if (response.ok) successes.add(`${request.method} ${path}`);
      return response;
    },
  };
  server = await listen(counted, { host: '127.0.0.1', port: 0 });
}, 10 * MINUTES);
afterAll(async () => {
  await server?.close(0);
  await test?.close();
});

it('may be left out everywhere but in a workflow of GitHub', () => {
  expect(mayBeMissing({})).toBe(true);
  expect(mayBeMissing({ CI: 'true' })).toBe(true);
  expect(mayBeMissing({ CI: 'true', GITHUB_ACTIONS: 'true' })).toBe(false);
});

describe('the API keeps its contract, whatever it is sent', () => {
  let cases = 0;
  it.for([
    ['an operator', 1],
    ['a device', 2],
  ] as const)('by %s', { timeout: timeoutMs + MINUTES }, async ([who, place], context) => {
    if (!environment) return context.skip(`no Schemathesis: ${missing}`);
    const device = await test.enrolDevice();
    const known = await createObjects(test.deps, 'default', { deviceId: device.id });
    const headers = who === 'a device' ? device.headers : await test.operator();
    const seed = 2 * SEED + place;
    const repeated = `FEDEDGE_TEST_FUZZ_EXAMPLES=${EXAMPLES} FEDEDGE_TEST_FUZZ_SEED=${SEED}`;
    console.log(`Schemathesis by ${who}, again by ${repeated}`);
    const options = { url: server.url, headers: { ...headers }, known, seed, timeoutMs, without };
    const result = await fuzz(environment, { ...options, examples: EXAMPLES });
    expect(result.ok, result.output.slice(-20_000)).toBe(true);
    cases += result.cases;
  });

  it(`in at least ${LEAST_CASES} requests`, (context) => {
    if (!environment) return context.skip(`no Schemathesis: ${missing}`);
    console.log(`Schemathesis sent ${cases} requests; ${successes.size} paths were answered with 2xx`);
    expect(cases).toBeGreaterThanOrEqual(LEAST_CASES);
    // Otherwise the door alone was tried.
    expect(successes.size).toBeGreaterThanOrEqual(35);
  });
});
