/**
 * Waits for a release, and tells each of its states: for a Job that shows in Argo CD how the release goes.
 *
 *   FEDEDGE_URL=... FEDEDGE_OPERATOR_KEY_FILE=... node clients/typescript/program/release.ts --model M --content HASH
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { listReleases } from '../generated/sdk.gen.ts';
import type { Release } from '../generated/types.gen.ts';
import { createApi, settle, within } from '../http/calls.ts';
import { isPassing } from '../http/problem-error.ts';
import { isHttpUrl, readSecret } from './agent-environment.ts';
import { describeRelease, judgeRelease } from './release-verdicts.ts';
import { ProgramError, runProgram } from './run-program.ts';

const LOOK_MS = 2000;
const CALL_MS = 15_000;
const PAGE = 100;
const MAX_TIMEOUT_S = 2_000_000;

const help = `usage: release --model MODEL --content HASH [--timeout SECONDS]

Waits until the release of MODEL with the content HASH has its version, its gate holds and its first cohort is active.
Ends with 1 when it is paused, halted or superseded by another one, or after the timeout (default 3600).

  FEDEDGE_URL                the server
  FEDEDGE_OPERATOR_KEY_FILE  a file with an operator key (or FEDEDGE_OPERATOR_KEY)`;

await runProgram(main, { graceMs: 1000 });

async function main(stopping: AbortSignal): Promise<void> {
  const { url, key, model, content, timeoutMs } = readSettings();
  const client = createApi({ url, auth: () => key });
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]);
  const find = async () => {
    for (let cursor: string | undefined; ; ) {
      const query = { model, limit: PAGE, order: 'newest' as const, ...(cursor !== undefined && { cursor }) };
      const call = listReleases({ client, query, signal: within(CALL_MS, signal) });
      const page = (await settle(call, signal)).data;
      const found = page.items.find(({ contentHash }) => contentHash === content);
      if (found || page.nextCursor === undefined) return found;
      cursor = page.nextCursor;
    }
  };
  try {
    await awaitRelease(find, model, signal);
  } catch (error) {
    if (stopping.aborted) throw new ProgramError('stopped before the release was there');
    if (!signal.aborted) throw error;
    throw new ProgramError(`the release of ${model} was not there after ${timeoutMs / 1000} s`);
  }
}

async function awaitRelease(
  find: () => Promise<Release | undefined>,
  model: string,
  signal: AbortSignal,
): Promise<void> {
  let told = '';
  let wasRead = false;
  const tell = (line: string) => {
    if (line !== told) console.log(line);
    told = line;
  };
  for (;;) {
    try {
      const release = await find();
      wasRead ||= release !== undefined && release.state !== 'superseded';
      tell(release && wasRead ? describeRelease(release) : `${model}: the catalog's content is not read yet`);
      const verdict = release ? judgeRelease(release, wasRead) : 'waiting';
      if (verdict === 'failed') throw new ProgramError(`the release of ${model} failed: ${told}`);
      if (verdict === 'active') return;
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error)) throw error;
      tell(`${model}: ${error.message}`);
    }
    await sleep(LOOK_MS, undefined, { signal });
  }
}

function readSettings() {
  const options = {
    model: { type: 'string' },
    content: { type: 'string' },
    timeout: { type: 'string' },
  } as const;
  const faults: string[] = [];
  const key = readSecret(process.env, 'FEDEDGE_OPERATOR_KEY', faults);
  const { FEDEDGE_URL: url } = process.env;
  const { model, content, timeout = '3600' } = readArguments(options);
  if (!key && faults.length === 0) faults.push('FEDEDGE_OPERATOR_KEY_FILE is missing');
  if (key && !/^[!-~]+$/.test(key)) faults.push('FEDEDGE_OPERATOR_KEY_FILE: holds no operator key');
  if (!isHttpUrl(url)) faults.push('FEDEDGE_URL: the URL of the server');
  if (!model) faults.push('--model is missing');
  if (!content || !/^[0-9a-f]{64}$/.test(content)) faults.push('--content: 64 hexadecimal digits');
  // A timer that is longer than 24 days goes off at once.
  if (!(Number(timeout) > 0 && Number(timeout) <= MAX_TIMEOUT_S))
    faults.push(`--timeout: seconds, at most ${MAX_TIMEOUT_S}`);
  if (faults.length > 0) throw new ProgramError(`${faults.join('\n  ')}\n\n${help}`);
  return { url: url!, key: key!, model: model!, content: content!, timeoutMs: Number(timeout) * 1000 };
}

function readArguments<T extends Record<string, { type: 'string' }>>(options: T) {
  try {
    return parseArgs({ options, allowPositionals: false }).values;
  } catch (error) {
    throw new ProgramError(`${(error as Error).message}\n\n${help}`);
  }
}
