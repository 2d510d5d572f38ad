import { type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { RoundState } from '../../domain/round.ts';
import { assignments, devices, rounds } from '../schema.ts';

/** The place of the first of the results in the round's sequence. `refused`: the round or an assignment moved on. */
export type AcceptResult = { sequence: number } | 'refused';

/** What a statement is given when it is sent. */
type Given<T> = T | Placeholder;

interface Taking {
  roundId: Given<string>;
  count: Given<number>;
  /** ISO 8601. */
  now: Given<string>;
}

export interface Place extends Record<string, unknown> {
  last: number;
  state: RoundState;
  open: number;
}

/**
 * Counts `count` more results of a collecting round: the next sequences, the settled assignments and the round's state move in
 * one UPDATE that holds only up to capacity and before the deadline. Two posters that race for the last place serialise
 * on the row; counting rows instead would let rounds get stuck.
 */
export function takePlaces({ roundId, count: given, now }: Taking): SQL {
  const count = sql`${given}::int`;
  const full = sql`accepted + ${count} >= capacity`;
  const answered = sql`(open_assignments = ${count} and accepted + ${count} >= target)`;
  const closes = sql`(${full} or ${answered})`;
  // Unless there are so many open assignments, one of these is settled, too: it may have been given back a moment ago.
  return sql`update ${rounds} set
      accepted = accepted + ${count},
      open_assignments = case when ${closes} then 0 else open_assignments - ${count} end,
      state = case when ${closes} then 'aggregating' else state end,
      closed_at = case when ${closes} then ${now}::timestamptz end
    where id = ${roundId}::uuid and state = 'collecting' and accepted + ${count} <= capacity
      and open_assignments >= ${count} and deadline_at > ${now}::timestamptz
    returning accepted as last, state, open_assignments as open`;
}

/** Those of a list that are open, and whose device was not revoked a moment ago. */
export const isAcceptable = sql`${assignments.state} = 'open' and exists (select 1 from ${devices}
  where ${devices.id} = ${assignments.deviceId} and ${devices.state} = 'active')`;
