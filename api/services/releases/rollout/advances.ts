import type { Deps } from '../../../deps.ts';
import { type Move, nextMove } from '../../../domain/rollout.ts';
import {
  listActiveReleases,
  moveRelease,
  type ReleaseChange,
  type ReleaseRow,
} from '../../../store/releases/releases.ts';
import { announceRelease, type ReleaseAction } from '../announcements.ts';
import { eachInTurn } from '../in-turn.ts';
import { withVerdict } from '../releases.ts';
import { findTarget } from './targets.ts';

type AdvanceDeps = Pick<Deps, 'db' | 'clock' | 'log'>;

const actions: Record<Move['kind'], ReleaseAction> = {
  wait: 'wait',
  roll: 'roll',
  step: 'step',
  complete: 'complete',
  pause: 'pause',
};

/**
 * Takes every step that is due of the releases that are active: a version that is there now, a bake time that has
 * passed with the gate holding, a gate that fails. Any number of processes may do it at once.
 */
export async function advanceReleases(deps: AdvanceDeps, federationId: string): Promise<void> {
  const active = await listActiveReleases(deps.db.pool, federationId);
  await eachInTurn(active, (release) => advance(deps, release));
}

async function advance(deps: AdvanceDeps, found: ReleaseRow): Promise<void> {
  let release: ReleaseRow | undefined = found;
  while (release) {
    const now = deps.clock.now();
    const move: Move | undefined = nextMove(release, {
      target: await findTarget(deps.db.pool, release),
      gate: (await withVerdict(deps.db.pool, release)).verdict,
      now,
    });
    if (!move) return;
    release = await take(deps, release, move, now);
    if (move.kind === 'wait' || move.kind === 'pause') return;
  }
}

async function take(
  { db, log }: AdvanceDeps,
  from: ReleaseRow,
  move: Move,
  now: Date,
): Promise<ReleaseRow | undefined> {
  const release = await db.transaction(async (tx) => {
    const moved = await moveRelease(tx, from, changeOf(from, move, now));
    if (moved) await announceRelease(tx, moved, { actor: 'system', action: actions[move.kind], now });
    return moved;
  });
  if (release) {
    const { id, model, state, step, version, reason } = release;
    log.info({ release: id, model, state, step, version, reason }, 'a release has moved on');
  }
  return release;
}

function changeOf(from: ReleaseRow, move: Move, now: Date): ReleaseChange {
  switch (move.kind) {
    case 'wait':
      return { reason: move.reason };
    case 'step':
      return { step: move.step, stepSince: now };
    case 'complete':
      return { state: 'complete', outcome: 'complete' };
    case 'pause':
      return { state: 'paused', outcome: 'paused', reason: move.reason };
    case 'roll': {
      const { version, digest } = move;
      // The version before of a channel is the one that went through last.
      const before = from.state === 'complete' ? from.version : from.previous;
      const previous = from.document.previous ?? before;
      const start = { step: 0, stepSince: now, reason: null, outcome: null };
      return { ...start, state: 'rolling', version, digest, previous };
    }
  }
}
