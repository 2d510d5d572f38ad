import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor, waitUntil } from '../../support/acceptance/waiting.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const run = promisify(execFile);
const BASE = 'node:24-bookworm-slim';
const OWN_LAYERS_BYTES = 15_000_000;
const BUILD_MS = 900_000;
const suffix = randomBytes(4).toString('hex');

/** The engine of the machine, or the one that the cluster's test has started. */
const hosts = [
  process.env.DOCKER_HOST,
  `unix://${join(homedir(), '.cache/fededge/cluster/images/docker.sock')}`,
];
const host = hosts.find((candidate) => {
  const env = { ...process.env, ...(candidate !== undefined && { DOCKER_HOST: candidate }) };
  return spawnSync('docker', ['image', 'inspect', BASE], { env, timeout: 20_000 }).status === 0;
});
const isThere = host !== undefined || spawnSync('docker', ['image', 'inspect', BASE]).status === 0;
const env = { ...process.env, ...(host !== undefined && { DOCKER_HOST: host }) };

async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run('docker', args, { env, maxBuffer: 64e6 });
  return stdout.trim();
}

/** From the files that git knows or could know: not what is installed or was built here. */
async function build(target: string): Promise<string> {
  const tag = `fededge-test-${suffix}:${target}`;
  const files =
    'git ls-files -z --cached --others --exclude-standard -- package.json package-lock.json api clients scripts infra/docker';
  const context = `${files} | xargs -0 sh -c 'for f; do [ -e "$f" ] && printf "%s\\0" "$f"; done' _ | tar --null -T - -c`;
  const command = `${context} | docker build -q --network host -f infra/docker/Dockerfile --target ${target} -t ${tag} -`;
  await run('sh', ['-c', command], { cwd: root, env, timeout: BUILD_MS, maxBuffer: 64e6 });
  return tag;
}

/** The bytes, as a registry keeps them, of the layers that an image has above its base. */
async function ownLayerBytes(tag: string): Promise<number> {
  const countLayers = async (name: string) =>
    (JSON.parse(await docker('image', 'inspect', '--format', '{{json .RootFS.Layers}}', name)) as string[])
      .length;
  const below = await countLayers(BASE);
  const folder = await mkdtemp(join(tmpdir(), 'fededge-image-'));
  try {
    await docker('save', '-o', join(folder, 'image.tar'), tag);
    await run('tar', ['-xf', 'image.tar'], { cwd: folder });
    const [manifest] = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as {
      Layers: string[];
    }[];
    let bytes = 0;
    for (const layer of manifest!.Layers.slice(below)) {
      for await (const chunk of createReadStream(join(folder, layer)).pipe(createGzip())) {
        bytes += (chunk as Buffer).length;
      }
    }
    return bytes;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('the image', { timeout: BUILD_MS }, () => {
  let plain: string;
  let embedded: string;
  const container = `fededge-test-${suffix}`;
  beforeAll(async () => {
    if (!isThere) return;
    plain = await build('fededge');
    embedded = await build('fededge-embedded');
  }, BUILD_MS);
  afterAll(async () => {
    if (!isThere) return;
    await docker('rm', '-fv', container).catch(() => undefined);
    await docker('volume', 'rm', '-f', container).catch(() => undefined);
    for (const tag of [plain, embedded]) if (tag) await docker('rmi', tag).catch(() => undefined);
  });

  const missing = `no container engine with ${BASE} answers`;

  it('adds at most 15 MB to its base', async ({ skip }) => {
    skip(!isThere, missing);
    const bytes = await ownLayerBytes(plain);
    console.log(`our layers: ${(bytes / 1e6).toFixed(2)} MB compressed`);
    expect(bytes).toBeLessThan(OWN_LAYERS_BYTES);
  });

  it('runs as a user without rights, on a root that cannot be written', async ({ skip }) => {
    skip(!isThere, missing);
    const confined = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
    const places = ['--tmpfs', '/tmp', '-v', `${container}:/data`];
    const settings = ['-e', 'FEDEDGE_PORT=0', '-e', 'FEDEDGE_HOST=127.0.0.1'];
    const options = ['--network', 'host', ...confined, ...places, ...settings];
    await docker('run', '-d', '--name', container, ...options, embedded, 'server', '--json');
    const url = await waitFor('it tells where it listens', async () => {
      const line = (await docker('logs', container)).split('\n').find((text) => text.includes('"url"'));
      return line && (JSON.parse(line) as { url: string }).url;
    });
    await waitUntil('it is ready', async () => (await fetch(`${url}/readyz`)).ok);
    expect(await docker('exec', container, 'id', '-u')).toBe('10001');
    await expect(docker('exec', container, 'touch', '/app/fededge.js')).rejects.toThrow();
    await docker('stop', '-t', '30', container);
    expect(await docker('inspect', '--format', '{{.State.ExitCode}}', container)).toBe('0');
  });
});
