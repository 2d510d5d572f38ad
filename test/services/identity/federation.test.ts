import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Config } from '../../../api/config.ts';
import { ensureFederation, operatorKeyFile } from '../../../api/services/identity/federation.ts';
import { hashSecret } from '../../../api/services/identity/secrets.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';

let t: TestApp;
let keyFile: string;
beforeAll(async () => {
  t = await createTestApp();
  keyFile = operatorKeyFile(t.deps.config.dataDir);
});
afterAll(() => t.close());
beforeEach(async () => {
  await t.deps.db.client`delete from operator_keys`;
  await rm(keyFile, { force: true });
});

function ensure(change: Partial<Config> = {}) {
  return ensureFederation({ ...t.deps, config: { ...t.deps.config, ...change } });
}
async function hashes(): Promise<string[]> {
  const rows = await t.deps.db.client`select secret_hash from operator_keys where revoked_at is null`;
  return rows.map(({ secret_hash }) => secret_hash as string);
}
const readKey = async () => (await readFile(keyFile, 'utf8')).trim();

it('makes one key for eight first starts at once, for its owner alone', async () => {
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => ensure()));
  expect(outcomes.filter(({ createdKey }) => createdKey)).toHaveLength(1);
  expect(await hashes()).toEqual([hashSecret(await readKey())]);
  expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
});

it('makes one key for first starts at once on data folders of their own', async () => {
  const dataDirs = Array.from({ length: 8 }, (_, i) => join(t.deps.config.dataDir, `replica-${i}`));
  const outcomes = await Promise.all(dataDirs.map((dataDir) => ensure({ dataDir })));
  expect(outcomes.filter(({ createdKey }) => createdKey)).toHaveLength(1);
  expect(await hashes()).toHaveLength(1);
});

it('makes the key of the file valid if a start ended between file and commit', async () => {
  await ensure();
  const secret = await readKey();
  await t.deps.db.client`delete from operator_keys`;
  expect(await ensure()).toEqual({ createdKey: true });
  expect(await readKey()).toBe(secret);
  expect(await hashes()).toEqual([hashSecret(secret)]);
});

it('makes no key while there is an operator, even if the file is gone', async () => {
  await ensure();
  const before = await hashes();
  await rm(keyFile);
  expect(await ensure()).toEqual({ createdKey: false });
  expect(await hashes()).toEqual(before);
});

it('takes the configured key, and a later one beside it', async () => {
  const [first, second] = [`fedop_${'A'.repeat(43)}`, `fedop_${'B'.repeat(43)}`];
  expect(await ensure({ operatorKey: first })).toEqual({ createdKey: true });
  expect(await ensure({ operatorKey: first })).toEqual({ createdKey: false });
  await expect(stat(keyFile)).rejects.toThrow('ENOENT');
  expect(await ensure({ operatorKey: second })).toEqual({ createdKey: true });
  expect((await hashes()).sort()).toEqual([hashSecret(first), hashSecret(second)].sort());
});

it('does not bring a revoked key back', async () => {
  const secret = `fedop_${'C'.repeat(43)}`;
  await ensure({ operatorKey: secret });
  await t.deps.db.client`update operator_keys set revoked_at = now()`;
  expect(await ensure({ operatorKey: secret })).toEqual({ createdKey: false });
  expect(await hashes()).toEqual([]);
});

it('refuses a configured key that nobody could use', async () => {
  await expect(ensure({ operatorKey: 'x'.repeat(40) })).rejects.toThrow('FEDEDGE_OPERATOR_KEY');
});
