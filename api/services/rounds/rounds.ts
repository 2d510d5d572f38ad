import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import type { RoundKind } from '../../domain/round.ts';
import * as store from '../../store/rounds/round-views.ts';
import { requireRun } from './runs.ts';

export type RoundView = store.RoundView;
export type UpdateView = store.UpdateView;
type RoundDeps = Pick<Deps, 'db'>;

/** The round with that id. Throws `not_found`. */
export async function requireRound(
  { db }: RoundDeps,
  { federationId }: Principal,
  id: string,
): Promise<RoundView> {
  const round = await store.findRound(db.pool, federationId, id);
  if (!round) throw new FedEdgeError('not_found');
  return round;
}

/** A run's rounds. Throws `not_found`. */
export async function listRounds(
  deps: RoundDeps,
  caller: Principal,
  { run, kind, page }: { run: string; kind?: RoundKind; page: Page },
): Promise<RoundView[]> {
  const { id: runId } = await requireRun(deps, caller, run);
  return store.listRounds(deps.db.pool, kind === undefined ? { runId } : { runId, kind }, page);
}

/** A round's updates in the order of folding. Throws `not_found`. */
export async function listUpdates(
  deps: RoundDeps,
  caller: Principal,
  { round, page }: { round: string; page: Page },
): Promise<UpdateView[]> {
  const { id } = await requireRound(deps, caller, round);
  return store.listUpdates(deps.db.pool, id, page);
}
