import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { Operator, Round } from '../operators.ts';
import type { Service } from '../services.ts';
import { readAllEvents, type StreamEvent } from './event-reader.ts';

interface AuditEntry {
  position: number;
  previousHash: string;
  hash: string;
  action: string;
  [member: string]: unknown;
}

/** I10: every entry has its place, and its hash covers it and the one before. */
export async function checkAudit(operator: Operator): Promise<void> {
  const entries = await operator.list<AuditEntry>('/v1/audit');
  expect(entries.length, 'the audit log has entries').toBeGreaterThan(0);
  let previous = '0'.repeat(64);
  entries.forEach((entry, index) => {
    const { previousHash, hash, ...covered } = entry;
    const computed = createHash('sha256')
      .update(previousHash + canonicalJson(covered))
      .digest('hex');
    expect({ position: entry.position, previousHash, hash }, 'audit entry').toEqual({
      position: index + 1,
      previousHash: previous,
      hash: computed,
    });
    previous = hash;
  });
}

/** RFC 8785, as far as an audit entry needs it. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
}

const legalPaths = [
  ['round.opened'],
  ['round.opened', 'round.failed'],
  ['round.opened', 'round.collecting'],
  ['round.opened', 'round.collecting', 'round.failed'],
  ['round.opened', 'round.collecting', 'round.completed'],
].map((path) => path.join(' '));

/** I6: positions have no gap, and every round took a legal way to the state that it is in. */
export async function checkEvents(service: Service, rounds: readonly Round[]): Promise<void> {
  const events = await readAllEvents(service);
  expect(events.map(({ position }) => position)).toEqual(events.map((_, index) => index + 1));
  const paths = Map.groupBy(
    events.filter(({ type }) => type.startsWith('round.')),
    ({ subject }) => subject.round,
  );
  for (const { id, state } of rounds) {
    const path = (paths.get(id) ?? []).map(({ type }: StreamEvent) => type);
    expect(legalPaths, `the way of round ${id}`).toContain(path.join(' '));
    if (state === 'completed' || state === 'failed') expect(path.at(-1)).toBe(`round.${state}`);
  }
}
