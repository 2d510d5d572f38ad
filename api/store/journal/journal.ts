import { createHash } from 'node:crypto';
import { asc, desc, gt, isNotNull, isNull, sql } from 'drizzle-orm';
import { canonicalJson } from '../../domain/canonical-json.ts';
import type { Database, Queryable } from '../database.ts';
import { auditEntries, events } from '../schema.ts';

/*
 * Journals: tables whose rows are inserted without a position by any transaction and numbered afterwards, when they
 * are committed. An id from a sequence would not do: the transaction with the lower id may commit last, and a reader
 * that has passed the higher one would skip it. One appender at a time numbers what it sees, in its own transaction
 * under an advisory lock, so positions are gapless and become visible in order.
 *
 * Positions go on from the highest one: whoever deletes old rows keeps the last.
 */

const EVENTS_LOCK = 4_021_990_002;
const AUDIT_LOCK = 4_021_990_003;
const BATCH = 1000;

/** What the first entry of the audit chain follows. */
const chainStart = '0'.repeat(64);

export type AuditRow = typeof auditEntries.$inferSelect;

/** Numbers every committed event that has no position yet. Cheap when there is none. */
export async function numberEvents(db: Database): Promise<void> {
  let numbered = BATCH;
  while (numbered === BATCH && (await hasUnnumbered(db, events))) {
    numbered = await db.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(${EVENTS_LOCK})`);
      const rows = await tx.execute(sql`
        update events set position = base.last + found.place
        from (
          select id, row_number() over (order by id) as place
          from (select id from events where position is null order by id limit ${BATCH}) as oldest
        ) as found, (select coalesce(max(position), 0) as last from events) as base
        where events.id = found.id
        returning events.id`);
      return rows.length;
    });
  }
}

/** Numbers and chains every committed audit entry that has no position yet. Cheap when there is none. */
export async function chainAudit(db: Database): Promise<void> {
  let chained = BATCH;
  while (chained === BATCH && (await hasUnnumbered(db, auditEntries))) {
    chained = await db.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(${AUDIT_LOCK})`);
      return chainBatch(tx);
    });
  }
}

/** The first position where the audit log is not what was written (changed, removed, inserted), or undefined. */
export async function verifyAudit(db: Database): Promise<number | undefined> {
  let position = 0;
  let hash = chainStart;
  for (;;) {
    const rows = await db.pool
      .select()
      .from(auditEntries)
      .where(gt(auditEntries.position, position))
      .orderBy(asc(auditEntries.position))
      .limit(BATCH);
    for (const row of rows) {
      position += 1;
      const intact = row.position === position && row.previousHash === hash;
      if (!intact || row.hash !== hashEntry(hash, position, row)) return position;
      hash = row.hash;
    }
    if (rows.length < BATCH) return undefined;
  }
}

async function hasUnnumbered(db: Database, table: typeof events | typeof auditEntries): Promise<boolean> {
  const rows = await db.pool.select({ id: table.id }).from(table).where(isNull(table.position)).limit(1);
  return rows.length > 0;
}

async function chainBatch(tx: Queryable): Promise<number> {
  const [last] = await tx
    .select({ position: auditEntries.position, hash: auditEntries.hash })
    .from(auditEntries)
    .where(isNotNull(auditEntries.position))
    .orderBy(desc(auditEntries.position))
    .limit(1);
  const rows = await tx
    .select()
    .from(auditEntries)
    .where(isNull(auditEntries.position))
    .orderBy(asc(auditEntries.id))
    .limit(BATCH);
  let previousHash = last?.hash ?? chainStart;
  const links = rows.map((row, index) => {
    const position = (last?.position ?? 0) + index + 1;
    const link = { id: row.id, position, previousHash, hash: hashEntry(previousHash, position, row) };
    previousHash = link.hash;
    return link;
  });
  await tx.execute(sql`
    update audit_entries set position = link.position, previous_hash = link."previousHash", hash = link.hash
    from jsonb_to_recordset(${JSON.stringify(links)}::jsonb)
      as link(id bigint, position bigint, "previousHash" text, hash text)
    where audit_entries.id = link.id`);
  return rows.length;
}

/** SHA-256, hex, over the hash before (64 hex digits as text) and the entry, as the API shows it, in canonical JSON. */
function hashEntry(previousHash: string, position: number, row: AuditRow): string {
  const { federationId: federation, actor, action, target, details } = row;
  const createdAt = row.createdAt.toISOString();
  const entry = { position, federation, actor, action, target, details, createdAt };
  return createHash('sha256')
    .update(previousHash + canonicalJson(entry))
    .digest('hex');
}
