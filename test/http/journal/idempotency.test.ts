import { afterAll, beforeAll, expect, it } from 'vitest';
import { enrollmentTokens, idempotencyKeys } from '../../../api/store/schema.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';

let test: TestApp;
let headers: RequestHeaders;

beforeAll(async () => {
  test = await createTestApp();
  headers = await test.operator();
});
afterAll(() => test?.close());

const body = (name: string) => ({ name, expiresInSeconds: 3600 });
const create = (key: string, payload: object, more: Record<string, string> = {}, app = test.app) =>
  app.request(
    '/v1/enrollment-tokens',
    jsonRequest('POST', payload, { ...headers, 'idempotency-key': key, ...more }),
  );
const countTokens = async (name: string) =>
  (await test.deps.db.pool.select().from(enrollmentTokens)).filter((row) => row.name === name).length;

it('gives 8 concurrent requests on two replicas one token, whose secret all of them see', async () => {
  const other = await test.replica();
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => create('eight', body('eight'), {}, n % 2 ? other.app : test.app)),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  expect(new Set(texts).size).toBe(1);
  expect(await countTokens('eight')).toBe(1);
  const replayed = answers.filter((answer) => answer.headers.get('idempotent-replayed') === 'true');
  expect(replayed).toHaveLength(7);
  expect(replayed[0]!.headers.get('content-type')).toContain('application/json');
});

it('stores no secret of an answer in clear', async () => {
  const answer = (await (await create('clear', body('clear'))).json()) as Record<string, unknown>;
  const secret = Object.values(answer).find((value) => String(value).startsWith('fedenr_')) as string;
  expect(secret).toMatch(/^fedenr_/);
  const rows = JSON.stringify(await test.deps.db.pool.select().from(idempotencyKeys));
  expect(rows).not.toContain(secret);
  expect(rows).not.toContain(Buffer.from(secret).toString('base64').slice(4, 40));
});

it('refuses another body or path under the key', async () => {
  await create('taken', body('taken'));
  const other = await create('taken', body('taken too'));
  expect([other.status, ((await other.json()) as { code: string }).code]).toEqual([
    422,
    'idempotency_key_reused',
  ]);
  const path = await test.app.request(
    '/v1/operator-keys',
    jsonRequest('POST', body('taken'), { ...headers, 'idempotency-key': 'taken' }),
  );
  expect(path.status).toBe(422);
  expect(await countTokens('taken too')).toBe(0);
});

it("keeps one caller's keys apart from another's", async () => {
  await create('mine', body('mine'));
  const theirs = await create('mine', body('theirs'), await test.operator());
  expect(theirs.status).toBe(201);
});

it('frees the key of a refused request', async () => {
  expect((await create('again', { name: 7 })).status).toBe(400);
  expect((await create('again', body('again'))).status).toBe(201);
});

it.each([[''], ['a b'], ['x'.repeat(201)], ['ü']])('refuses %j as a key', async (key) => {
  const answer = await create(key, body('never'));
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([400, 'invalid_request']);
});

it('makes a request without a key anew', async () => {
  for (let n = 0; n < 2; n += 1) {
    await test.app.request('/v1/enrollment-tokens', jsonRequest('POST', body('twice'), headers));
  }
  expect(await countTokens('twice')).toBe(2);
});
