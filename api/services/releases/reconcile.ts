import type { Deps } from '../../deps.ts';
import type { Principal } from '../../domain/role.ts';
import { tellable } from '../../domain/tellable.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { catalogLocks, whileAlone } from '../../store/releases/catalog-locks.ts';
import { findCatalog, putCatalog } from '../../store/releases/catalogs.ts';
import type { Catalog } from './catalog/catalog.ts';
import type { CatalogFault, CatalogFindings, WaitingFile } from './catalog/catalogs.ts';
import { eachInTurn } from './in-turn.ts';
import { activateReleases } from './rollout/activations.ts';
import { advanceReleases } from './rollout/advances.ts';
import { reconcileRuns } from './runs/catalog-runs.ts';

const MAX_MESSAGE = 1000;

type ReconcileDeps = Pick<Deps, 'db' | 'clock' | 'log'>;

/** The catalog could not be read: what is active goes on, steps and gates included, and nothing else changes. */
export interface UnreadableCatalog {
  faults: readonly CatalogFault[];
}

/**
 * Brings releases and runs to what the catalog says, and the releases on by what is due. Level-triggered: it may be done
 * at any time, by any process, as often as one likes; one does it at a time, others answer false. A part that fails does
 * not keep the others from their turn; the first failure is thrown in the end.
 */
export async function reconcileCatalog(
  deps: ReconcileDeps,
  principal: Principal,
  catalog: Catalog | UnreadableCatalog,
): Promise<boolean> {
  const done = await whileAlone(deps.db, catalogLocks.reconcile, async () => {
    const { federationId } = principal;
    const findings: CatalogFindings = { faults: [...catalog.faults], waiting: [] };
    const parts: (() => Promise<unknown>)[] = [() => advanceReleases(deps, federationId)];
    if ('releases' in catalog) {
      parts.unshift(() => activateReleases(deps, federationId, catalog));
      parts.push(() => reconcileRuns(deps, principal, catalog, findings));
    }
    parts.push(() => noteFindings(deps, federationId, findings));
    await eachInTurn(parts, (part) => part());
    return true;
  });
  return done ?? false;
}

/** Tells of faults when they come, change and go; what waits is no fault, and raises no alarm. */
async function noteFindings(
  { db, clock, log }: ReconcileDeps,
  federationId: string,
  findings: CatalogFindings,
): Promise<void> {
  const [faults, waiting] = [findings.faults, findings.waiting].map(tellableOf) as [Found[], Found[]];
  const before = await findCatalog(db.pool, federationId);
  const createdAt = clock.now();
  const hasChanged = tell(before?.faults ?? []) !== tell(faults);
  await db.transaction(async (tx) => {
    await putCatalog(tx, { federationId, readAt: createdAt, faults, waiting });
    if (!hasChanged) return;
    const [first] = faults;
    const type = first ? 'catalog.faulty' : 'catalog.mended';
    const subject = first ? { faults: faults.length, ...first } : { faults: 0 };
    await recordEvent(tx, { federationId, type, subject, createdAt });
    await notify(tx, channels.events);
  });
  if (hasChanged)
    log.warn({ faults }, faults.length > 0 ? 'the catalog has faults' : 'the catalog is mended');
  if (waiting.length > 0 && tell(before?.waiting ?? []) !== tell(waiting))
    log.info({ waiting }, 'runs of the catalog wait');
}

type Found = CatalogFault | WaitingFile;

const tellableOf = (found: readonly Found[]) =>
  found.map(({ file, message }) => ({ file, message: tellable(message, MAX_MESSAGE) }));
const tell = (found: readonly Found[]) => found.map(({ file, message }) => `${file}: ${message}`).join('\n');
