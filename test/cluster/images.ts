import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from './clusters.ts';
import { run } from './commands.ts';
import { engineState, scripts } from './places.ts';

/** A container engine that builds, and what to do when the test is over. */
export interface Engine {
  docker(args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

const BASE = 'node:24-bookworm-slim';

/** The machine's own engine, if it has (or can pull) the base image; else one started by hand from Debian's packages. */
export async function openEngine(signal: AbortSignal): Promise<Engine> {
  const own = dockerAt(process.env.DOCKER_HOST, signal);
  if (await hasBase(own)) return { docker: own, stop: async () => undefined };
  const pidFile = join(engineState, 'docker.pid');
  const host = `unix://${join(engineState, 'docker.sock')}`;
  const docker = dockerAt(host, signal);
  const wasRunning =
    existsSync(pidFile) &&
    (await docker(['info']).then(
      () => true,
      () => false,
    ));
  const stop = async () => {
    if (!wasRunning) process.kill(Number(await readFile(pidFile, 'utf8')));
  };
  try {
    await run('bash', [join(scripts, 'images.sh'), engineState], { signal, timeoutMs: 1_800_000 });
  } catch (error) {
    // It may have been started already, in a session of its own.
    await stop().catch(() => undefined);
    throw error;
  }
  return { docker, stop };
}

type Docker = (args: readonly string[]) => Promise<string>;

function dockerAt(host: string | undefined, signal: AbortSignal): Docker {
  const env = { DOCKER_BUILDKIT: '0', ...(host ? { DOCKER_HOST: host } : {}) };
  return (args) => run('docker', args, { signal, env, timeoutMs: 1_800_000 });
}

async function hasBase(docker: Docker): Promise<boolean> {
  for (const args of [
    ['image', 'inspect', BASE],
    ['pull', '-q', BASE],
  ]) {
    if (
      await docker(args).then(
        () => true,
        () => false,
      )
    )
      return true;
  }
  return false;
}

/** Builds a target of the Dockerfile from a checkout. */
export async function buildImage(
  engine: Engine,
  folder: string,
  options: { target: string; tag: string },
): Promise<void> {
  const { target, tag } = options;
  await engine.docker([
    'build',
    '--network',
    'host',
    '--target',
    target,
    '-t',
    tag,
    '-f',
    join(folder, 'infra/docker/Dockerfile'),
    folder,
  ]);
}

export async function loadImages(
  engine: Engine,
  cluster: Cluster,
  tags: readonly string[],
  archive: string,
): Promise<void> {
  await engine.docker(['save', '-o', archive, ...tags]);
  await cluster.loadImages(archive);
  await rm(archive);
}
