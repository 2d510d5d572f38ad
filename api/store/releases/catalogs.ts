import { eq } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { catalogs } from '../schema.ts';

export type CatalogRow = typeof catalogs.$inferSelect;

/** What the last look at the catalog found. Undefined: nobody has looked yet. */
export async function findCatalog(q: Queryable, federationId: string): Promise<CatalogRow | undefined> {
  const rows = await q.select().from(catalogs).where(eq(catalogs.federationId, federationId));
  return rows[0];
}

export async function putCatalog(tx: Queryable, catalog: Required<CatalogRow>): Promise<void> {
  const { readAt, faults, waiting } = catalog;
  await tx
    .insert(catalogs)
    .values(catalog)
    .onConflictDoUpdate({ target: catalogs.federationId, set: { readAt, faults, waiting } });
}
