import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import { type GateVerdict, judgeGate } from '../../domain/rollout.ts';
import type { Queryable } from '../../store/database.ts';
import * as store from '../../store/releases/releases.ts';
import { listMeasured } from '../../store/releases/reports.ts';
import { actorOf } from '../identity/actors.ts';
import { announceRelease } from './announcements.ts';

/** A release with what the devices' reports say to its gate. */
export interface ReleaseView extends store.ReleaseRow {
  /** Undefined: it has no gate. */
  verdict: GateVerdict | undefined;
}

/** The release with that id. Throws `not_found`. */
export async function requireRelease(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
  id: string,
): Promise<ReleaseView> {
  const release = await store.findRelease(db.pool, federationId, id);
  if (!release) throw new FedEdgeError('not_found');
  return withVerdict(db.pool, release);
}

export async function listReleases(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
  { model, page }: { model?: string | undefined; page: Page },
): Promise<ReleaseView[]> {
  const rows = await store.listReleases(db.pool, { federationId, model }, page);
  return Promise.all(rows.map((row) => withVerdict(db.pool, row)));
}

/** Devices get `previous` from now on, until the content changes. Throws `not_found`, `conflict` with the state. */
export async function haltRelease(deps: Deps, operator: Principal, id: string): Promise<ReleaseView> {
  const { federationId } = operator;
  const now = deps.clock.now();
  const halted = await deps.db.transaction(async (tx) => {
    const moved = await store.haltRelease(tx, federationId, id);
    if (!moved) return requireHalted(await store.findRelease(tx, federationId, id));
    await announceRelease(tx, moved, { actor: actorOf(operator), action: 'halt', now });
    return moved;
  });
  return withVerdict(deps.db.pool, halted);
}

function requireHalted(release: store.ReleaseRow | undefined): store.ReleaseRow {
  if (!release) throw new FedEdgeError('not_found');
  if (release.state !== 'halted') throw new FedEdgeError('conflict', { state: release.state });
  return release;
}

/** What the reports say to a release's gate. Of one that is superseded nothing is asked. */
export async function withVerdict(q: Queryable, release: store.ReleaseRow): Promise<ReleaseView> {
  const { document, version, model, federationId, activatedAt, state } = release;
  const { gate } = document;
  if (!gate) return { ...release, verdict: undefined };
  const measured =
    version === null || state === 'superseded'
      ? []
      : await listMeasured(q, { federationId, model, version }, { metric: gate.metric, since: activatedAt });
  return { ...release, verdict: judgeGate(gate, measured) };
}
