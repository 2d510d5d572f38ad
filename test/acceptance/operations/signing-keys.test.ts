import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import type { Device } from '../../support/acceptance/devices.ts';
import { createFederation } from '../../support/acceptance/federations.ts';
import { send } from '../../support/acceptance/requests.ts';
import { type Service, startReplicas, startServer } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

/** Tokens that the load gets in each stage of a rotation, at least. */
const TOKENS = 30;
/** Longer than a server waits for a changed file to be at rest. */
const NOTICED_MS = 500;

let service: Service | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

interface Jwk {
  kid: string;
}

function makeKey(): Jwk {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID() } as Jwk;
}

async function publishedKids(url: string): Promise<string[]> {
  const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: Jwk[] };
  return keys.map(({ kid }) => kid);
}

const kidOf = (token: string) =>
  (JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as Jwk).kid;

async function use(url: string, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  return (await send(url, { method: 'GET', path: '/v1/devices/me', headers })).status;
}

/** Every device gets token after token, from one replica and the other, and shows each, and its first one, to both. */
function startLoad(devices: readonly Device[], urls: readonly string[]) {
  const issued: string[] = [];
  const failures: string[] = [];
  /** By the key that had signed the token that was taken. */
  const taken = new Map<string, number>();
  let isOver = false;

  async function turn(device: Device, first: string[]): Promise<void> {
    for (const url of urls) {
      const answer = await device.askToken(url);
      if (answer.status !== 200) {
        failures.push(`POST /v1/token: ${answer.status} ${answer.bytes}`);
        continue;
      }
      const token = answer.json<{ access_token: string }>().access_token;
      issued.push(token);
      if (first.length === 0) first.push(token);
      for (const shown of [token, ...first]) {
        for (const shownTo of urls) {
          const status = await use(shownTo, shown);
          if (status === 200) taken.set(kidOf(shown), (taken.get(kidOf(shown)) ?? 0) + 1);
          else failures.push(`a token of ${kidOf(shown)}: ${status}`);
        }
      }
    }
  }

  const loops = devices.map(async (device) => {
    const first: string[] = [];
    while (!isOver) await turn(device, first);
  });
  // Looked at in `stop`, and not before: an error there must not end the whole process.
  for (const loop of loops) loop.catch(() => undefined);
  return {
    failures,
    taken,
    oldest: () => issued[0]!,
    /** Waits until so many more tokens were issued, and returns the keys that signed them. */
    async more(): Promise<Set<string>> {
      const from = issued.length;
      await waitUntil('tokens are issued', () => issued.length >= from + TOKENS || failures.length > 0);
      expect(failures).toEqual([]);
      return new Set(issued.slice(from).map(kidOf));
    },
    async stop() {
      isOver = true;
      await Promise.all(loops);
    },
  };
}

it('rotate on two replicas while tokens are issued and used, without a refused request', async () => {
  const limits = { FEDEDGE_LIMIT_TOKENS: 'off', FEDEDGE_LIMIT_ADDRESS: 'off', FEDEDGE_LIMIT_DEVICE: 'off' };
  const replicas = await startReplicas({ api: 2, workers: 1 }, limits);
  service = replicas;
  const { devices } = await createFederation(replicas, 3);
  const urls = replicas.replicas.map(({ url }) => url);
  const path = join(replicas.dataDir, 'token-keys.json');
  const first = (JSON.parse(await readFile(path, 'utf8')) as { keys: Jwk[] }).keys[0]!;
  const second = makeKey();
  const place = async (keys: Jwk[]) => {
    await writeFile(`${path}.new`, JSON.stringify({ keys }), { mode: 0o600 });
    await rename(`${path}.new`, path);
    const kids = keys.map(({ kid }) => kid);
    for (const url of urls) {
      await waitUntil('the replica has read it', async () => `${await publishedKids(url)}` === `${kids}`);
    }
  };
  const load = startLoad(devices, urls);
  expect(await load.more()).toEqual(new Set([first.kid]));
  // The new key verifies everywhere before it signs anywhere, and the old one for as long as its tokens live.
  await place([first, second]);
  expect(await load.more()).toEqual(new Set([first.kid]));
  await place([second, first]);
  // Requests that were under way meanwhile may still end with a token of the first.
  await load.more();
  const before = load.taken.get(first.kid)!;
  expect(await load.more()).toEqual(new Set([second.kid]));
  expect(load.taken.get(first.kid), 'tokens of the first key still serve').toBeGreaterThan(before);
  // A file that is no key set changes nothing.
  await writeFile(path, 'not a key set');
  await waitUntil('it is told', () => replicas.logs().includes('cannot be read again'));
  for (const url of urls) expect(await publishedKids(url)).toEqual([second.kid, first.kid]);
  expect(await load.more()).toEqual(new Set([second.kid]));
  await load.stop();
  expect(load.failures).toEqual([]);
  // Without its key a token is worth nothing: that those of the first lived on was the overlap.
  await place([second]);
  for (const url of urls) expect(await use(url, load.oldest())).toBe(401);
});

it('are read again on SIGHUP, also where a change of their file is not noticed', async () => {
  const elsewhere = await mkdtemp(join(tmpdir(), 'fededge-keys-'));
  const watched = await mkdtemp(join(tmpdir(), 'fededge-keys-'));
  try {
    // The link is watched, what it leads to is not.
    const [file, link] = [join(elsewhere, 'set.json'), join(watched, 'set.json')];
    const [first, second] = [makeKey(), makeKey()];
    await writeFile(file, JSON.stringify({ keys: [first] }));
    await symlink(file, link);
    const running = await startServer({ FEDEDGE_TOKEN_KEYS: link });
    service = running;
    const [device] = (await createFederation(running, 1)).devices;
    const old = await device!.token();
    await writeFile(file, JSON.stringify({ keys: [second, first] }));
    await sleep(NOTICED_MS);
    expect(await publishedKids(running.url()), 'it has not noticed').toEqual([first.kid]);
    running.server.hangUp();
    await waitUntil(
      'both are published',
      async () => `${await publishedKids(running.url())}` === `${[second.kid, first.kid]}`,
    );
    const fresh = (await device!.askToken(running.url())).json<{ access_token: string }>().access_token;
    expect([kidOf(old), kidOf(fresh)]).toEqual([first.kid, second.kid]);
    expect([await use(running.url(), old), await use(running.url(), fresh)]).toEqual([200, 200]);
    // A set that cannot be used is told, and changes nothing.
    await writeFile(file, 'not a key set');
    running.server.hangUp();
    await waitUntil('it is told', () => running.logs().includes('cannot be read again'));
    expect([await use(running.url(), old), await use(running.url(), fresh)]).toEqual([200, 200]);
    // A key that is gone takes its tokens with it.
    await writeFile(file, JSON.stringify({ keys: [second] }));
    running.server.hangUp();
    await waitUntil('the old token is refused', async () => (await use(running.url(), old)) === 401);
    expect(await use(running.url(), fresh)).toBe(200);
  } finally {
    for (const folder of [elsewhere, watched]) await rm(folder, { recursive: true });
  }
});
