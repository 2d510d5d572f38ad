import { type SQL, sql } from 'drizzle-orm';
import type { RoundState } from '../../domain/round.ts';

/** The place of the first of the results in the round's sequence. `refused`: the round or an assignment moved on. */
export type AcceptResult = { sequence: number } | 'refused';

export interface Place extends Record<string, unknown> {
  last: number;
  state: RoundState;
  open: number;
}

/** Counts one more result of a collecting round (0001_acknowledgements.sql). No row: the round has moved on. */
export function takePlace(roundId: string, now: Date): SQL {
  return sql`select * from take_places(${roundId}::uuid, 1, ${now.toISOString()}::timestamptz)`;
}
