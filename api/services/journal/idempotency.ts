import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import { guardTransactions } from '../../store/database.ts';
import {
  claimKey,
  findKey,
  type KeyName,
  type KeyRow,
  keepAnswer,
  noteEffect,
  releaseKey,
} from '../../store/journal/idempotency.ts';
import { openAnswer, sealAnswer } from './sealed-answers.ts';

/** A request that shows neither an effect nor an answer for so long has died with its server. */
const STALE_MS = 60_000;
const WAITS_MS = [20, 40, 80, 160, 300, 400, 500, 500, 500, 500, 500, 500];

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface KeyedRequest {
  principal: Principal;
  key: string;
  /** What the request asks for: method, path and body. */
  requestHash: string;
  /** The caller's credentials: the first answer is encrypted with them. */
  secret: string;
}

type IdempotencyDeps = Pick<Deps, 'db' | 'clock' | 'log'>;

/**
 * Answers the requests with one key by one effect (draft-ietf-httpapi-idempotency-key-header). Of many at once one
 * works, the others wait for its answer. A refusal (status 300 and above) frees the key: it had no effect, so a repeat
 * is decided anew. The key's claim is checked and the effect noted in every transaction of the work, so that neither a
 * killed server nor a take-over can make the effect happen twice.
 *
 * Throws `idempotency_key_reused` for another request, `idempotency_in_progress` after some seconds of waiting, and
 * `idempotency_answer_lost` if the effect is there but its answer is not (killed in between, or other credentials).
 */
export async function answerOnce(
  deps: IdempotencyDeps,
  request: KeyedRequest,
  work: () => Promise<Answer>,
): Promise<{ answer: Answer; replayed: boolean }> {
  const { principal, key, requestHash } = request;
  const name = { federationId: principal.federationId, principal: `${principal.kind}:${principal.id}`, key };
  for (const wait of [0, ...WAITS_MS]) {
    await sleep(wait);
    const now = deps.clock.now();
    const claim = { id: randomUUID(), requestHash, now, staleBefore: new Date(now.getTime() - STALE_MS) };
    if (await claimKey(deps.db.pool, name, claim)) {
      return {
        answer: await workUnderClaim(deps, { ...request, name, claim: claim.id }, work),
        replayed: false,
      };
    }
    const row = await findKey(deps.db.pool, name);
    if (row) {
      const answer = recallAnswer(row, request, claim.staleBefore);
      if (answer) return { answer, replayed: true };
    }
  }
  throw new FedEdgeError('idempotency_in_progress');
}

interface Claimed extends KeyedRequest {
  name: KeyName;
  claim: string;
}

async function workUnderClaim(
  { db, clock, log }: IdempotencyDeps,
  { name, claim, secret }: Claimed,
  work: () => Promise<Answer>,
): Promise<Answer> {
  // What the work leaves running behind must not be held to a claim that is over.
  let working = true;
  const guard: Parameters<typeof guardTransactions>[0] = async (tx) => {
    if (working && !(await noteEffect(tx, name, claim, clock.now()))) {
      throw new FedEdgeError('idempotency_in_progress');
    }
  };
  const answer = await guardTransactions(guard, work).finally(() => {
    working = false;
  });
  try {
    if (answer.status >= 300) await releaseKey(db.pool, name, claim);
    else await keepAnswer(db.pool, name, claim, sealAnswer(secret, contextOf(name), JSON.stringify(answer)));
  } catch (error) {
    log.warn({ err: error }, 'the answer of an idempotent request was not kept');
  }
  return answer;
}

/** The first answer; undefined while the first request may still be at work. */
function recallAnswer(row: KeyRow, request: KeyedRequest, staleBefore: Date): Answer | undefined {
  if (row.requestHash !== request.requestHash) throw new FedEdgeError('idempotency_key_reused');
  const isOver = row.answer !== null || (row.effectAt !== null && row.claimedAt <= staleBefore);
  if (!isOver) return undefined;
  const text = openAnswer(request.secret, contextOf(row), row.answer ?? '');
  if (text === undefined) throw new FedEdgeError('idempotency_answer_lost');
  return JSON.parse(text) as Answer;
}

function contextOf({ federationId, principal, key }: KeyName): string {
  return JSON.stringify([federationId, principal, key]);
}
