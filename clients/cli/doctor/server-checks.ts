import { resolve } from 'node:path';
import { authorizationOf } from '../../typescript/http/authorization.ts';
import { withoutSlash } from '../../typescript/http/calls.ts';
import { readKey, requireUrl, type ServerOptions } from '../connection.ts';
import { Failure } from '../failure.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

const CALL_MS = 5000;
/** What tokens bear is 5 s; a Date header is cut to a second, and the way takes time. */
const SKEW_MS = 3000;
const NIL = '00000000-0000-0000-0000-000000000000';

interface Subject extends ServerOptions {
  cwd: string;
  signal: AbortSignal;
  version: string;
}

/** How the server looks from here: reached, of our version, on our clock, ready, and what the key may do. */
export async function examineServer(subject: Subject): Promise<Finding[]> {
  if (!subject.url) return [warning('server', 'none is named: --url or FEDEDGE_URL')];
  let root: string;
  try {
    root = withoutSlash(requireUrl(subject.url));
  } catch (error) {
    return [describe('server', error)];
  }
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(root + path, { ...init, signal: AbortSignal.any([subject.signal, AbortSignal.timeout(CALL_MS)]) });
  const began = Date.now();
  const alive = await ask('/livez').catch(reasonOf);
  if (typeof alive === 'string') return [fault('server', `${root} was not reached: ${alive}`)];
  await alive.body?.cancel();
  if (!alive.ok) return [fault('server', `${root}/livez answers ${alive.status}: is this FedEdge?`)];
  return [
    ok('server', `${root} answers in ${Date.now() - began} ms`),
    compareClocks(alive.headers.get('date'), began),
    await compareVersions(ask, subject.version),
    ...(await readReadiness(ask)),
    await examineKey(ask, subject),
  ];
}

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

function compareClocks(date: string | null, began: number): Finding {
  const theirs = Date.parse(date ?? '');
  if (Number.isNaN(theirs)) return warning('clock', 'the server does not tell its time');
  // The header is the time cut to its second: half a second is the mean of what is cut.
  const skew = theirs + 500 - (began + Date.now()) / 2;
  const seconds = `${Math.abs(skew / 1000).toFixed(0)} s`;
  if (Math.abs(skew) <= SKEW_MS) return ok('clock', 'as the server’s');
  return warning(
    'clock',
    `the server’s is ${seconds} ${skew > 0 ? 'ahead' : 'behind'}: signatures may be refused`,
  );
}

async function compareVersions(ask: Ask, own: string): Promise<Finding> {
  const answer = await ask('/openapi.json').catch(reasonOf);
  if (typeof answer === 'string' || !answer.ok)
    return warning('version', 'the server does not tell its version');
  const document = (await answer.json()) as { info?: { version?: string }; paths?: Record<string, unknown> };
  const theirs = document.info?.version ?? 'unknown';
  if (!document.paths?.['/v1/releases'])
    return fault('version', `server ${theirs} knows no releases: upgrade it`);
  const text = `server ${theirs}, this command ${own}`;
  return theirs.split('.')[0] === own.split('.')[0] ? ok('version', text) : warning('version', text);
}

/** What the server says of itself: its own parts are its own doctor's business. */
async function readReadiness(ask: Ask): Promise<Finding[]> {
  const answer = await ask('/readyz').catch(reasonOf);
  if (typeof answer === 'string') return [fault('readiness', answer)];
  const body = (await answer.json().catch(() => ({}))) as { checks?: Record<string, string>; code?: string };
  const parts = Object.entries(body.checks ?? {}).map(([part, state]) => `${part} ${state}`);
  const told = parts.join(', ') || body.code || `status ${answer.status}`;
  if (answer.ok) return [ok('readiness', told)];
  return [fault('readiness', `${told}; npm run doctor on the server's machine looks at its configuration`)];
}

async function examineKey(ask: Ask, { keyFile, cwd }: Subject): Promise<Finding> {
  if (!keyFile) return warning('key', 'none is named: --key-file or FEDEDGE_OPERATOR_KEY_FILE');
  try {
    const key = await readKey(resolve(cwd, keyFile));
    const headers = { authorization: authorizationOf(key) };
    const statusOf = async (path: string, method = 'GET') => {
      const answer = await ask(path, { method, headers });
      await answer.body?.cancel();
      return answer.status;
    };
    const reads = await statusOf('/v1/releases?limit=1');
    if (reads === 401) return fault('key', 'the server does not know it, or it is revoked');
    if (reads !== 200) return fault('key', `the server answers ${reads} to it`);
    if ((await statusOf('/v1/operator-keys?limit=1')) === 200)
      return ok('key', 'role operator: manages, halts nothing');
    // There is no such release: who may halt hears that, and who may not hears that he may not.
    const halts = await statusOf(`/v1/releases/${NIL}/halt`, 'POST');
    return ok('key', halts === 404 ? 'role releaser: reads, halts releases' : 'role viewer: reads');
  } catch (error) {
    return describe('key', error);
  }
}

function describe(check: string, error: unknown): Finding {
  const next = error instanceof Failure && error.next ? `. ${error.next}` : '';
  return fault(check, `${(error as Error).message}${next}`);
}

function reasonOf(error: Error): string {
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  return error.name === 'TimeoutError'
    ? `no answer within ${CALL_MS / 1000} s`
    : (cause?.code ?? cause?.message ?? error.message);
}
