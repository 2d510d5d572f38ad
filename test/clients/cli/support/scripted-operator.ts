import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Catalog, Release } from '../../../../clients/typescript/index.ts';
import {
  type Reply,
  type ScriptedServer,
  startScriptedServer,
} from '../../typescript/support/scripted-server.ts';
import { digestOf } from './repositories.ts';

/** The operator's side of the contract, in memory: model mnist with versions, a run, and releases. */
export interface ScriptedOperator extends ScriptedServer {
  releases: Release[];
  /** What it found in the catalog. */
  faults: Catalog['faults'];
  waiting: Catalog['waiting'];
  /** What an environment needs to reach it. */
  env: Record<string, string>;
  /** Roles as the server knows them; the key has this one. */
  role: 'viewer' | 'operator' | 'releaser';
  /** How far its clock is ahead. */
  skewMs: number;
  /** Called before each list of releases. */
  onLook: (() => void) | undefined;
}

const KEY = 'fedop_scripted';
const RUN = '0198c5d0-33cc-7f42-ae33-4b5c6d7e8f90';

export async function startScriptedOperator(versions: readonly number[]): Promise<ScriptedOperator> {
  const folder = mkdtempSync(join(tmpdir(), 'fededge-key-'));
  writeFileSync(join(folder, 'key'), `${KEY}\n`, { mode: 0o600 });
  const state: Pick<ScriptedOperator, 'releases' | 'faults' | 'waiting' | 'role' | 'skewMs' | 'onLook'> = {
    releases: [],
    faults: [],
    waiting: [],
    role: 'releaser',
    skewMs: 0,
    onLook: undefined,
  };

  const answers: [RegExp, (parts: string[]) => Reply][] = [
    [/^\/livez$/, () => ({ status: 200, body: { status: 'alive' } })],
    [
      /^\/readyz$/,
      () => ({ status: 200, body: { status: 'ready', checks: { database: 'ok', schema: 'ok' } } }),
    ],
    [
      /^\/openapi.json$/,
      () => ({ status: 200, body: { info: { version: '0.1.0' }, paths: { '/v1/releases': {} } } }),
    ],
    [/^\/v1\/models$/, () => page([{ name: 'mnist' }])],
    [/^\/v1\/models\/mnist\/versions$/, () => page(versions.map(describeVersion))],
    [
      /^\/v1\/models\/mnist\/versions\/(\d+)$/,
      ([n]) => found(versions.includes(Number(n)), describeVersion(Number(n))),
    ],
    [/^\/v1\/runs\/([^/]+)$/, ([run]) => found(run === RUN, { id: RUN, model: 'mnist' })],
    [
      /^\/v1\/runs\/[^/]+\/rounds$/,
      () => page(versions.map((version, index) => ({ number: index + 1, version }))),
    ],
    [
      /^\/v1\/releases$/,
      () => {
        state.onLook?.();
        return page(state.releases);
      },
    ],
    [
      /^\/v1\/releases\/([^/]+)\/halt$/,
      ([id]) => (state.role === 'releaser' ? halt(state.releases, id!) : problem(403, 'forbidden')),
    ],
    [/^\/v1\/operator-keys$/, () => (state.role === 'operator' ? page([]) : problem(403, 'forbidden'))],
    [
      /^\/v1\/catalog$/,
      () => ({ status: 200, body: { readAt: catalogReadAt, faults: state.faults, waiting: state.waiting } }),
    ],
  ];
  const server = await startScriptedServer(
    ({ path, headers }) => {
      if (path.startsWith('/v1/') && headers.authorization !== `bearer ${KEY}`)
        return problem(401, 'unauthorized');
      for (const [pattern, answer] of answers) {
        const match = pattern.exec(path);
        if (match) return answer(match.slice(1));
      }
      return problem(404, 'not_found');
    },
    () => new Date(Date.now() + state.skewMs),
  );
  const { url, close } = server;
  return Object.assign(state, server, {
    env: { FEDEDGE_URL: url, FEDEDGE_OPERATOR_KEY_FILE: join(folder, 'key') },
    async close() {
      rmSync(folder, { recursive: true, force: true });
      await close();
    },
  });
}

export const catalogReadAt = '2026-11-24T21:00:00.000Z';
export const scriptedRun = RUN;

/** A release at some point of its life. */
export function describeRelease(overrides: Partial<Release>): Release {
  return {
    id: '0198c5d0-0000-7f42-ae33-4b5c6d7e8f90',
    model: 'mnist',
    contentHash: '0'.repeat(64),
    state: 'rolling',
    reason: null,
    step: 0,
    steps: 3,
    stepSince: new Date(Date.now() - 90_000).toISOString(),
    bakeSeconds: 600,
    version: 7,
    digest: digestOf(7).slice('sha-256:'.length),
    channel: null,
    source: null,
    previous: 6,
    salt: 'mnist-2026',
    cohorts: [
      { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
      { name: 'everyone', labels: {}, percent: [5, 25, 100] },
    ],
    gate: {
      metric: 'accuracy',
      atLeast: 0.9,
      atMost: null,
      reportsNeeded: 3,
      reports: 4,
      value: 0.94123,
      holds: true,
    },
    createdAt: '2026-11-24T20:00:00.000Z',
    activatedAt: '2026-11-24T20:00:00.000Z',
    ...overrides,
  };
}

function halt(releases: Release[], id: string): Reply {
  const release = releases.find((each) => each.id === id);
  if (!release) return problem(404, 'not_found');
  if (release.state === 'superseded') return problem(409, 'conflict');
  return { status: 200, body: Object.assign(release, { state: 'halted', reason: 'halted' }) };
}

function describeVersion(version: number) {
  return {
    model: 'mnist',
    version,
    digest: digestOf(version).slice('sha-256:'.length),
    createdAt: '2026-11-24',
  };
}

function page(items: readonly object[]): Reply {
  return { status: 200, body: { items } };
}

function found(there: boolean, body: object): Reply {
  return there ? { status: 200, body } : problem(404, 'not_found');
}

function problem(status: number, code: string): Reply {
  const body = { type: 'about:blank', title: code, status, code, help: '', requestId: 'r' };
  return { status, headers: { 'content-type': 'application/problem+json' }, body };
}
