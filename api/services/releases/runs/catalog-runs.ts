import type { Deps } from '../../../deps.ts';
import { FedEdgeError } from '../../../domain/errors.ts';
import type { Principal } from '../../../domain/role.ts';
import {
  type CatalogRunRow,
  listCatalogRuns,
  putCatalogRun,
  removeCatalogRun,
} from '../../../store/releases/catalog-runs.ts';
import { createRun, stopRun } from '../../rounds/runs.ts';
import type { Catalog, CatalogRun } from '../catalog/catalog.ts';
import type { CatalogFindings } from '../catalog/catalogs.ts';
import { nextDue } from '../catalog/run-files.ts';
import { eachInTurn } from '../in-turn.ts';

type RunDeps = Pick<Deps, 'db' | 'clock' | 'log'>;
type KnownRun = Awaited<ReturnType<typeof listCatalogRuns>>[number];

/** What may be there at the next look, by the code that says that it is not. */
const PASSING: Readonly<Record<string, (model: string) => string>> = {
  not_found: (model) => `the model ${model}, which is not there yet`,
  no_version: (model) => `the first version of ${model}`,
  model_busy: (model) => `the end of another run of ${model}`,
};

/** What keeps a run from its beginning: by itself it does not go away (`fault`), or it does (`waitsFor`). */
type Hindrance = { fault: string } | { waitsFor: string };

/**
 * Brings the runs to what the catalog says. A new content stops the run of the one before and is due at once, or when its
 * schedule says so; a file that is gone stops its run; what is unchanged is left alone, also when an operator stopped it.
 * One that fails keeps none from its turn. Adds to `findings` the files whose runs cannot be, and those that wait; throws
 * the first failure in the end.
 */
export async function reconcileRuns(
  deps: RunDeps,
  principal: Principal,
  { runs, kept }: Pick<Catalog, 'runs' | 'kept'>,
  findings: CatalogFindings,
): Promise<void> {
  const known = await listCatalogRuns(deps.db.pool, principal.federationId);
  const orphans = known.filter(
    ({ name }) => kept.runs !== 'all' && !kept.runs.has(name) && !runs.some((run) => run.name === name),
  );
  const drops = orphans.map((row) => () => dropRun(deps, principal, row));
  const starts = runs.map((run) => async () => {
    const row = known.find(({ name }) => name === run.name);
    const current =
      row?.contentHash === run.contentHash ? row : await replaceRun(deps, principal, { run, before: row });
    const hindrance = await startIfDue(deps, principal, { run, row: current });
    if (hindrance) note(findings, run, hindrance);
  });
  await eachInTurn([...drops, ...starts], (work) => work());
}

async function dropRun(deps: RunDeps, principal: Principal, row: KnownRun): Promise<void> {
  await stopIfOpen(deps, principal, row);
  await removeCatalogRun(deps.db.pool, row.federationId, row.name);
}

async function replaceRun(
  deps: RunDeps,
  principal: Principal,
  { run, before }: { run: CatalogRun; before: KnownRun | undefined },
): Promise<KnownRun> {
  if (before) await stopIfOpen(deps, principal, before);
  const now = deps.clock.now();
  const row: CatalogRunRow = {
    federationId: principal.federationId,
    name: run.name,
    contentHash: run.contentHash,
    runId: null,
    dueAt: run.cron === undefined ? now : nextDue(run.cron, now),
  };
  await putCatalogRun(deps.db.pool, row);
  return { ...row, state: null };
}

function note({ faults, waiting }: CatalogFindings, { file }: CatalogRun, hindrance: Hindrance): void {
  if ('fault' in hindrance) faults.push({ file, message: hindrance.fault });
  else waiting.push({ file, message: `waits for ${hindrance.waitsFor}` });
}

async function startIfDue(
  deps: RunDeps,
  principal: Principal,
  { run, row: { state, ...row } }: { run: CatalogRun; row: KnownRun },
): Promise<Hindrance | undefined> {
  const now = deps.clock.now();
  const dueAt = run.cron === undefined ? null : nextDue(run.cron, now);
  if (row.dueAt === null || row.dueAt > now) {
    // A clock that ran ahead and was set back would keep the schedule silent until that time.
    if (row.dueAt && dueAt && dueAt < row.dueAt) await putCatalogRun(deps.db.pool, { ...row, dueAt });
    return undefined;
  }
  if (state === 'active' || state === 'paused') return skip(deps, { ...row, dueAt }, 'run_under_way');
  try {
    await createRun(deps, principal, run.request, (tx, { id }) =>
      putCatalogRun(tx, { ...row, runId: id, dueAt }),
    );
    return undefined;
  } catch (error) {
    if (!(error instanceof FedEdgeError)) throw error;
    if (error.code === 'invalid_run') return { fault: String(error.details.reason) };
    const describe = PASSING[error.code];
    if (!describe) throw error;
    // What is due once waits for its turn; what comes again leaves one out.
    if (run.cron !== undefined) return skip(deps, { ...row, dueAt }, error.code);
    return { waitsFor: describe(run.request.model) };
  }
}

async function skip({ db, log }: RunDeps, row: CatalogRunRow, why: string): Promise<undefined> {
  log.info({ run: row.name, why, dueAt: row.dueAt }, 'a scheduled run is left out');
  await putCatalogRun(db.pool, row);
}

async function stopIfOpen(deps: RunDeps, principal: Principal, { runId, state }: KnownRun): Promise<void> {
  if (runId === null || (state !== 'active' && state !== 'paused')) return;
  try {
    await stopRun(deps, principal, runId);
  } catch (error) {
    // It ended by itself meanwhile.
    if (!(error instanceof FedEdgeError && error.code === 'conflict')) throw error;
  }
}
