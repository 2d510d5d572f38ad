import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Release } from '../../../../clients/typescript/index.ts';
import { judgeRelease } from '../../../../clients/typescript/program/release-verdicts.ts';
import { startProgram } from '../../../support/acceptance/programs.ts';

const CONTENT = 'ab'.repeat(32);
const gate = { metric: 'accuracy', atLeast: 0.9, atMost: null, reportsNeeded: 3 };

function release(changes: Partial<Release>): Partial<Release> {
  return {
    model: 'mnist',
    contentHash: CONTENT,
    state: 'waiting',
    reason: null,
    step: 0,
    steps: 2,
    version: null,
    gate: null,
    ...changes,
  };
}

it.each<[string, Partial<Release>]>([
  ['waiting', { state: 'waiting' }],
  ['waiting', { state: 'rolling', version: null }],
  ['waiting', { state: 'rolling', version: 7, gate: { ...gate, reports: 1, value: 0.95, holds: false } }],
  ['active', { state: 'rolling', version: 7, gate: { ...gate, reports: 3, value: 0.95, holds: true } }],
  ['active', { state: 'rolling', version: 7, gate: null }],
  ['active', { state: 'complete', version: 7 }],
  ['failed', { state: 'paused', version: 7 }],
  ['failed', { state: 'halted', version: 7 }],
  ['failed', { state: 'superseded', version: 7 }],
])('is %s', (verdict, changes) => {
  expect(judgeRelease(release(changes) as Release, true)).toBe(verdict);
});

let folder: string;
let server: Server;
/** What the server tells, one answer after the other; the last one stays. */
let answers: (Partial<Release> | 'unavailable')[];
let asked: (string | undefined)[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-release-'));
  await writeFile(join(folder, 'key'), 'fedop_key\n');
  asked = [];
  server = createServer((request, response) => {
    asked.push(request.headers.authorization);
    const answer = answers.length > 1 ? answers.shift()! : answers[0];
    if (answer === 'unavailable') return response.writeHead(503).end();
    // The wanted one is on the second page.
    const isFirst = !request.url!.includes('cursor=');
    const other = { ...release({}), contentHash: 'cd'.repeat(32) };
    if (isFirst && answer) answers.unshift(answer);
    const page = isFirst ? { items: [other], nextCursor: 'next' } : { items: answer ? [answer] : [] };
    return response.setHeader('content-type', 'application/json').end(JSON.stringify(page));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

async function wait(args: string[] = [], env: Record<string, string> = {}) {
  const { port } = server.address() as AddressInfo;
  const program = startProgram(
    ['clients/typescript/program/release.ts', '--model', 'mnist', '--content', CONTENT, ...args],
    { FEDEDGE_URL: `http://127.0.0.1:${port}`, FEDEDGE_OPERATOR_KEY_FILE: join(folder, 'key'), ...env },
  );
  const { code } = await program.ended;
  return { code, lines: program.output('stdout').trim().split('\n'), errors: program.output('stderr') };
}

it('tells each state, outlasts outages, and ends with 0 when the first cohort is active', async () => {
  answers = ['unavailable', release({}), release({ state: 'rolling', version: 7 })];
  const { code, lines } = await wait();
  expect(code).toBe(0);
  expect(lines).toHaveLength(3);
  expect(lines.at(-1)).toBe('mnist: rolling, version 7, step 1 of 2');
  expect(new Set(asked)).toEqual(new Set(['bearer fedop_key']));
});

it('ends with 1 when the gate has failed, and says why', async () => {
  answers = [release({ state: 'paused', version: 7, reason: 'gate: accuracy 0.4 < 0.9' })];
  const { code, errors } = await wait();
  expect(code).toBe(1);
  expect(errors).toContain('gate: accuracy 0.4 < 0.9');
});

it('waits for a content that comes back: until the catalog is read again, it is superseded', async () => {
  answers = [release({ state: 'superseded', version: 6 }), release({ state: 'complete', version: 6 })];
  const { code, lines } = await wait();
  expect(code).toBe(0);
  expect(lines).toEqual(["mnist: the catalog's content is not read yet", 'mnist: complete, version 6']);
});

it('ends with 1 when another content takes its place', async () => {
  answers = [release({ state: 'rolling' }), release({ state: 'superseded' })];
  const { code, errors } = await wait();
  expect(code).toBe(1);
  expect(errors).toContain('superseded');
});

it('ends with 1 after its time', async () => {
  answers = [release({})];
  const { code, errors } = await wait(['--timeout', '1']);
  expect(code).toBe(1);
  expect(errors).toContain('was not there after 1 s');
});

it.each([
  [['--timeout', '3000000'], {}, '--timeout'],
  [['--timeout', '1e999'], {}, '--timeout'],
  [[], { FEDEDGE_URL: 'ftp://server' }, 'FEDEDGE_URL'],
  [[], { FEDEDGE_OPERATOR_KEY_FILE: '', FEDEDGE_OPERATOR_KEY: 'two words' }, 'no operator key'],
])('asks nobody with %j %j', async (args, env, fault) => {
  answers = [release({})];
  const { code, errors } = await wait(args, env);
  expect(code).toBe(1);
  expect(errors).toContain(fault);
  expect(errors).not.toMatch(/^ +at /m);
  expect(asked).toEqual([]);
});

it('says what it has not been told', async () => {
  const program = startProgram(['clients/typescript/program/release.ts'], {});
  expect(await program.ended).toMatchObject({ code: 1 });
  for (const name of ['FEDEDGE_URL', 'FEDEDGE_OPERATOR_KEY_FILE', '--model', '--content']) {
    expect(program.output('stderr')).toContain(name);
  }
});
