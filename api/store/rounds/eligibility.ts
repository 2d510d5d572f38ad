import { and, eq, isNull, or, type SQL, sql } from 'drizzle-orm';
import type { Selection } from '../../domain/run.ts';
import type { Queryable } from '../database.ts';
import { PRESENCE_RESOLUTION_MS } from '../identity/devices.ts';
import { assignments, devices } from '../schema.ts';
import type { RoundRow, RunRow } from './round-locks.ts';

const UUID_LENGTH = 36;

/**
 * Devices that a round may invite: active, present, with the labels and properties that the run selects, with data for
 * the model, without an open assignment of that kind, and not in this round already. None if there are fewer than
 * `least`: a round that waits for its quorum asks whenever a device comes. All ids in one text, and differences of sets
 * instead of anti-joins, whose plans depend on how many assignments were open when statistics were last taken.
 */
export async function findEligibleDevices(
  q: Queryable,
  round: RoundRow,
  run: RunRow,
  { now, least = 1 }: { now: Date; least?: number },
): Promise<string[]> {
  const { selection, presenceMs } = run.settings;
  // A shorter presence would come and go with the touches of devices that wait all the time.
  const presence = Math.max(presenceMs, PRESENCE_RESOLUTION_MS);
  const seenAfter = new Date(now.getTime() - presence).toISOString();
  const conditions = and(
    eq(devices.federationId, round.federationId),
    sql`${devices.state} = 'active'`,
    sql`${devices.lastSeenAt} > ${seenAfter}::timestamptz`,
    or(isNull(property('models')), sql`${property('models')} ? ${run.model}`),
    ...selects(selection),
  );
  const rows = await q.execute<{ ids: string }>(sql`
    with eligible as (
      select ${devices.id} as id from ${devices} where ${conditions}
      except select ${assignments.deviceId} from ${assignments}
        where ${assignments.federationId} = ${round.federationId} and ${assignments.kind} = ${round.kind}
        and ${assignments.state} = 'open'
      except select ${assignments.deviceId} from ${assignments} where ${assignments.roundId} = ${round.id})
    select string_agg(id::text, '') as ids from eligible having count(*) >= ${Math.max(least, 1)}`);
  const ids = rows[0]?.ids ?? '';
  return Array.from({ length: ids.length / UUID_LENGTH }, (_, index) =>
    ids.slice(index * UUID_LENGTH, (index + 1) * UUID_LENGTH),
  );
}

/**
 * Battery, charging and metering count only where a device reports them: a sensor on mains power has none to report.
 * Memory is different: who does not say that it has enough is not asked.
 */
function selects({ labels, minMemoryMb, minBattery, chargingOnly, unmeteredOnly }: Selection): SQL[] {
  const conditions: SQL[] = [];
  if (labels) conditions.push(sql`${devices.labels} @> ${JSON.stringify(labels)}::text::jsonb`);
  if (minMemoryMb) conditions.push(sql`${property('memoryMb')} >= to_jsonb(${minMemoryMb}::numeric)`);
  if (minBattery) {
    conditions.push(sql`(${property('battery')} is null or ${property('charging')} is not distinct from 'true'
      or ${property('battery')} >= to_jsonb(${minBattery}::numeric))`);
  }
  if (chargingOnly) conditions.push(sql`coalesce(${property('charging')} = 'true', true)`);
  if (unmeteredOnly) conditions.push(sql`coalesce(${property('metered')} = 'false', true)`);
  return conditions;
}

/** As JSON: comparing it with JSON of another type fails no query, whatever a device reports. */
function property(name: string): SQL {
  return sql`(${devices.properties} -> ${name}::text)`;
}
