import type { Queryable } from '../database.ts';
import { auditEntries } from '../schema.ts';

export interface NewAuditEntry {
  federationId: string;
  /** `operator:ID`, `device:ID` or `system`. */
  actor: string;
  /** `device.revoke`, `run.create` ... */
  action: string;
  /** `device:ID`, `run:ID` ... */
  target: string;
  details: Record<string, unknown>;
  createdAt: Date;
}

/** Notes who did what in the caller's transaction. Never a secret in `details`. */
export async function recordAudit(tx: Queryable, entry: NewAuditEntry): Promise<void> {
  await tx.insert(auditEntries).values(entry);
}
