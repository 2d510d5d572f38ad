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
import type { CatalogFault } from '../catalog/catalogs.ts';
import { nextDue } from '../catalog/run-files.ts';
import { eachInTurn } from '../in-turn.ts';

type RunDeps = Pick<Deps, 'db' | 'clock' | 'log'>;
type KnownRun = Awaited<ReturnType<typeof listCatalogRuns>>[number];

/** What may be there at the next look: a model, its first version, the end of another run. */
const PASSING = ['not_found', 'no_version', 'model_busy'];

/**
 * Brings the runs to what the catalog says. A new content stops the run of the one before and is due at once, or when its
 * schedule says so; a file that is gone stops its run; what is unchanged is left alone, also when an operator stopped it.
 * One that fails keeps none from its turn. Adds to `faults` the files whose runs cannot be, or wait; throws the first
 * failure in the end.
 */
export async function reconcileRuns(
  deps: RunDeps,
  principal: Principal,
  { runs, kept }: Pick<Catalog, 'runs' | 'kept'>,
  faults: CatalogFault[],
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
    const fault = await startIfDue(deps, principal, { run, row: current });
    if (fault !== undefined) faults.push({ file: run.file, message: fault });
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

/** Answers why the run cannot be, as long as its file is as it is, or what it waits for. */
async function startIfDue(
  deps: RunDeps,
  principal: Principal,
  { run, row: { state, ...row } }: { run: CatalogRun; row: KnownRun },
): Promise<string | undefined> {
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
    if (error.code === 'invalid_run') return String(error.details.reason);
    if (!PASSING.includes(error.code)) throw error;
    // What is due once waits for its turn; what comes again leaves one out.
    if (run.cron !== undefined) return skip(deps, { ...row, dueAt }, error.code);
    return `waits: ${error.code}`;
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
