import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadTokenKeys } from '../../../api/services/identity/token-keys.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'fededge-keys-'));
});
afterEach(() => rm(dataDir, { recursive: true }));

async function makeJwk(kid?: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), ...(kid === undefined ? {} : { kid }) };
}

async function loadSet(keys: unknown): Promise<Awaited<ReturnType<typeof loadTokenKeys>>> {
  const file = join(dataDir, 'set.json');
  await writeFile(file, JSON.stringify({ keys }));
  return loadTokenKeys({ dataDir, file });
}

it('makes one set for eight first starts at once, for its owner alone', async () => {
  const loaded = await Promise.all(Array.from({ length: 8 }, () => loadTokenKeys({ dataDir })));
  expect(new Set(loaded.map(({ signing }) => signing.kid)).size).toBe(1);
  expect(await readdir(dataDir)).toEqual(['token-keys.json']);
  expect((await stat(join(dataDir, 'token-keys.json'))).mode & 0o777).toBe(0o600);
});

it('keeps the set at later starts', async () => {
  const first = await loadTokenKeys({ dataDir });
  const text = await readFile(join(dataDir, 'token-keys.json'), 'utf8');
  expect((await loadTokenKeys({ dataDir })).jwks).toEqual(first.jwks);
  expect(await readFile(join(dataDir, 'token-keys.json'), 'utf8')).toBe(text);
});

it('signs with the first key of a set, verifies with all, and publishes no private part', async () => {
  const [next, old] = [await makeJwk('2026-02'), await makeJwk('2026-01')];
  const { d: _, ...oldPublic } = old;
  const keys = await loadSet([next, oldPublic]);
  expect(keys.signing.kid).toBe('2026-02');
  expect([...keys.verifying.keys()]).toEqual(['2026-02', '2026-01']);
  expect(keys.jwks.keys.map(({ kid }) => kid)).toEqual(['2026-02', '2026-01']);
  expect(JSON.stringify(keys.jwks)).not.toContain(next.d);
  for (const key of keys.jwks.keys) expect(key).not.toHaveProperty('d');
});

it('names a key without kid by its thumbprint', async () => {
  const keys = await loadSet([await makeJwk()]);
  expect(keys.signing.kid).toMatch(/^[\w-]{43}$/);
  expect(keys.verifying.has(keys.signing.kid)).toBe(true);
});

it('names the file that is not such a set', async () => {
  const good = await makeJwk('a');
  const { d: _, ...publicOnly } = good;
  const other = await makeJwk('b');
  const faulty = [
    [],
    [publicOnly],
    [good, { ...other, kid: 'a' }],
    [{ ...good, crv: 'P-384' }],
    [{ kty: 'oct', k: 'c2VjcmV0' }],
    [{ ...good, d: other.d }],
  ];
  for (const keys of faulty) await expect(loadSet(keys)).rejects.toThrow('set.json');
  await expect(loadTokenKeys({ dataDir, file: join(dataDir, 'missing.json') })).rejects.toThrow(
    'missing.json',
  );
});

it('repeats no part of a private key in the error about a file that breaks off', async () => {
  const { d, ...rest } = await makeJwk('a');
  const file = join(dataDir, 'set.json');
  for (const text of [`{"keys":[{"d":"${d}" "kid":1}]}`, `{"keys":[${JSON.stringify({ ...rest, d })}`, d!]) {
    await writeFile(file, text);
    const error: unknown = await loadTokenKeys({ dataDir, file }).catch((reason) => reason);
    const shown = inspect(error, { depth: 10 });
    expect(shown).toContain('set.json');
    for (let at = 0; at + 6 <= d!.length; at += 1) expect(shown).not.toContain(d!.slice(at, at + 6));
  }
});
