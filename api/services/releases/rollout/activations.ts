import type { Deps } from '../../../deps.ts';
import { settledVersion } from '../../../domain/release.ts';
import type { Queryable } from '../../../store/database.ts';
import { newId } from '../../../store/ids.ts';
import {
  findActiveRelease,
  findReleaseOfContent,
  insertRelease,
  listActiveReleases,
  moveRelease,
  type ReleaseRow,
} from '../../../store/releases/releases.ts';
import { announceRelease } from '../announcements.ts';
import type { Catalog, CatalogRelease } from '../catalog/catalog.ts';
import { eachInTurn } from '../in-turn.ts';

type ActivationDeps = Pick<Deps, 'db' | 'clock'>;

/**
 * Makes the catalog's contents the active ones, whether they are new or were active before, and supersedes the releases
 * of models that have no file any more. What is active already stays as it is, step and all.
 */
export async function activateReleases(
  deps: ActivationDeps,
  federationId: string,
  { releases, kept }: Pick<Catalog, 'releases' | 'kept'>,
): Promise<void> {
  const active = await listActiveReleases(deps.db.pool, federationId);
  const contents = new Map(active.map(({ model, contentHash }) => [model, contentHash]));
  const news = releases.filter(({ document, contentHash }) => contents.get(document.model) !== contentHash);
  await eachInTurn(news, (wanted) => activate(deps, federationId, wanted));
  if (kept.releases === 'all') return;
  const present = new Set([...kept.releases, ...releases.map(({ document }) => document.model)]);
  const orphans = active.filter(({ model }) => !present.has(model));
  await eachInTurn(orphans, (release) => deps.db.transaction((tx) => supersede(tx, deps, release)));
}

/** One transaction: at no moment has the model no release. */
async function activate(
  deps: ActivationDeps,
  federationId: string,
  { document, contentHash }: CatalogRelease,
): Promise<void> {
  const { model } = document;
  await deps.db.transaction(async (tx) => {
    const now = deps.clock.now();
    const active = await findActiveRelease(tx, federationId, model);
    if (active && !(await supersede(tx, deps, active))) return;
    const known = await findReleaseOfContent(tx, { federationId, model, contentHash });
    const previous = document.previous ?? (active ? settledVersion(active) : null);
    if (known) return restore(tx, known, previous, now);
    const release = await insertRelease(tx, {
      id: newId(now),
      federationId,
      model,
      contentHash,
      document,
      state: 'waiting',
      previous,
      createdAt: now,
      activatedAt: now,
    });
    await announceRelease(tx, release, { actor: 'system', action: 'create', now });
  });
}

/** What was through, paused or halted is that again; the rest begins anew. */
async function restore(tx: Queryable, known: ReleaseRow, previous: number | null, now: Date): Promise<void> {
  const anew = { step: 0, stepSince: null, version: null, digest: null, reason: null, previous };
  const release = await moveRelease(tx, known, {
    state: known.outcome ?? 'waiting',
    activatedAt: now,
    ...(known.outcome === null ? anew : {}),
  });
  if (!release) throw new Error(`release ${known.id} moved while the model had none`);
  await announceRelease(tx, release, { actor: 'system', action: 'activate', now });
}

/** False: somebody moved it meanwhile, such as an operator who halts it. */
async function supersede(tx: Queryable, { clock }: ActivationDeps, active: ReleaseRow): Promise<boolean> {
  const release = await moveRelease(tx, active, { state: 'superseded' });
  if (release) await announceRelease(tx, release, { actor: 'system', action: 'supersede', now: clock.now() });
  return release !== undefined;
}
