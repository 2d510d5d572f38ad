import type { Deps } from '../../../deps.ts';
import type { Principal } from '../../../domain/role.ts';
import { findCatalog } from '../../../store/releases/catalogs.ts';

/** A file of the catalog that does not hold; what it would change stays as it is until it is mended. */
export interface CatalogFault {
  /** Below the catalog's folder: `models/mnist.yaml`, `catalog.json`. */
  file: string;
  message: string;
}

/** A run file that holds, and what has to be there or over before its run begins by itself. */
export interface WaitingFile {
  /** `runs/nightly.yaml` */
  file: string;
  message: string;
}

/** What one look at the catalog finds. */
export interface CatalogFindings {
  faults: CatalogFault[];
  waiting: WaitingFile[];
}

/** What the last look at the catalog found. `readAt` is null where no replica reads one. */
export async function describeCatalog(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
): Promise<CatalogFindings & { readAt: Date | null }> {
  const found = await findCatalog(db.pool, federationId);
  return { readAt: found?.readAt ?? null, faults: found?.faults ?? [], waiting: found?.waiting ?? [] };
}
