import type { Deps } from '../../deps.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import { listAudit } from '../../store/journal/event-views.ts';
import { type AuditRow, chainAudit } from '../../store/journal/journal.ts';

/** The federation's audit entries, all that were committed before the call included. */
export async function readAudit(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
  page: Page,
): Promise<AuditRow[]> {
  await chainAudit(db);
  return listAudit(db.pool, federationId, page);
}
