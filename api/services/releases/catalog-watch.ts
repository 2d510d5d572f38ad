import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../../deps.ts';
import { systemPrincipal } from '../identity/actors.ts';
import { type Catalog, parseCatalog } from './catalog/catalog.ts';
import { type CatalogText, CatalogUnreadableError, createCatalogReader } from './catalog/catalog-folder.ts';
import type { ReadRun } from './catalog/run-files.ts';
import { importSources } from './imports/imports.ts';
import { reconcileCatalog, type UnreadableCatalog } from './reconcile.ts';

/**
 * Reconciles the catalog of `config.catalog` every so many seconds, until the process stops. Imports go on beside it: a
 * long one keeps no other release waiting. What fails is logged and tried again.
 */
export async function watchCatalog(
  deps: Deps,
  { folder, readRun }: { folder: string; readRun: ReadRun },
): Promise<void> {
  const { stopping, config } = deps;
  const read = createParser(createCatalogReader(folder), readRun);
  let importing: Promise<void> | undefined;
  let wake = () => {};
  while (!stopping.aborted) {
    await attempt(deps, 'catalog', async () => {
      await reconcileCatalog(deps, systemPrincipal, await read());
    });
    const woken = new AbortController();
    wake = () => woken.abort();
    importing ??= attempt(deps, 'imports', async () => {
      if ((await importSources(deps, systemPrincipal)) > 0) wake();
    }).finally(() => {
      importing = undefined;
    });
    const signal = AbortSignal.any([stopping, woken.signal]);
    await sleep(config.catalogMs, undefined, { signal }).catch(() => undefined);
  }
  await importing;
}

/** What is unchanged is not parsed again. */
function createParser(
  readTexts: () => Promise<CatalogText[]>,
  readRun: ReadRun,
): () => Promise<Catalog | UnreadableCatalog> {
  let last: { texts: CatalogText[]; catalog: Catalog } | undefined;
  return async () => {
    try {
      const texts = await readTexts();
      if (last?.texts !== texts) last = { texts, catalog: parseCatalog(texts, readRun) };
      return last.catalog;
    } catch (error) {
      if (!(error instanceof CatalogUnreadableError)) throw error;
      return { faults: [{ file: error.file, message: error.message }] };
    }
  };
}

async function attempt(deps: Deps, part: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    deps.metrics.workerPasses.inc({ part, outcome: 'ok' });
  } catch (error) {
    deps.metrics.workerPasses.inc({ part, outcome: 'failed' });
    deps.log.warn({ err: error, part }, 'a look at the catalog failed and is taken again');
  }
}
