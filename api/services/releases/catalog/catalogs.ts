import type { Deps } from '../../../deps.ts';
import type { Principal } from '../../../domain/role.ts';
import { findCatalog } from '../../../store/releases/catalogs.ts';

/** A file of the catalog that does not hold; what it would change stays as it is until it is mended. */
export interface CatalogFault {
  /** Below the catalog's folder: `models/mnist.yaml`, `catalog.json`. */
  file: string;
  message: string;
}

/** What the last look at the catalog found. `readAt` is null where no replica reads one. */
export async function describeCatalog(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
): Promise<{ readAt: Date | null; faults: CatalogFault[] }> {
  const found = await findCatalog(db.pool, federationId);
  return { readAt: found?.readAt ?? null, faults: found?.faults ?? [] };
}
