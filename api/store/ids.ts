import { randomUUID } from 'node:crypto';

const TIME_DIGITS = 12;

/**
 * A UUID of version 7 (RFC 9562 section 5.7): 48 bits of milliseconds, then random bits. Ids sort by the time of
 * their making, so they serve as cursors.
 */
export function newId(now: Date): string {
  const time = now.getTime().toString(16).padStart(TIME_DIGITS, '0');
  // The variant and the random bits of version 4 stand where those of version 7 do.
  const random = randomUUID().slice(time.length + '-4'.length + 1);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random}`;
}
