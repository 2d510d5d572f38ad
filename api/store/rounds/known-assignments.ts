import { channels } from '../journal/channels.ts';
import type { Listener } from '../journal/listener.ts';
import type { AdmissibleAssignment, OpenAssignment } from './assignments.ts';

/** Trainings take minutes. Nothing depends on it: what accepts an update looks at the tables. */
const TTL_MS = 10 * 60_000;
const MAX_DEVICES = 50_000;

interface Known {
  assignmentId: string;
  /** The assignment of any device of the round: they differ in nothing else. */
  like: OpenAssignment;
  loadedAt: number;
}

/**
 * What a replica remembers of the training that each device was last told to do, so that its update is let in without a
 * query: until anything is announced that may have changed it, the device has settled it here, or the round's deadline.
 */
export interface KnownAssignments {
  /** Keeps what `load` finds, but for what a change has overtaken. */
  load(now: Date, load: () => Promise<OpenAssignment[]>): Promise<OpenAssignment[]>;
  find(deviceId: string, assignmentId: string, now: Date): AdmissibleAssignment | undefined;
  /** Call it when a device has settled an assignment. */
  forget(deviceId: string): void;
}

export function createKnownAssignments(listener: Listener): KnownAssignments {
  const known = new Map<string, Known>();
  const rounds = new Map<string, OpenAssignment>();
  /** For each look that is under way: the devices that were forgotten since it began; '' are all. */
  const looks = new Set<Set<string>>();

  function forget(deviceId: string): void {
    for (const overtaken of looks) overtaken.add(deviceId);
    known.delete(deviceId);
    if (deviceId !== '') return;
    known.clear();
    rounds.clear();
  }
  for (const channel of [channels.credentials, channels.assignments, channels.work]) {
    listener.subscribe(channel, (payload) => forget(channel === channels.credentials ? payload : ''));
  }

  function remember(found: OpenAssignment, loadedAt: number): void {
    if (found.kind !== 'train') return;
    const like = rounds.get(found.roundId) ?? found;
    rounds.set(found.roundId, like);
    known.delete(found.deviceId);
    if (known.size >= MAX_DEVICES) known.delete(known.keys().next().value!);
    known.set(found.deviceId, { assignmentId: found.id, like, loadedAt });
  }

  return {
    async load(now, load) {
      const overtaken = new Set<string>();
      looks.add(overtaken);
      try {
        const found = await load();
        if (overtaken.has('')) return found;
        for (const row of found) if (!overtaken.has(row.deviceId)) remember(row, now.getTime());
        return found;
      } finally {
        looks.delete(overtaken);
      }
    },
    find(deviceId, assignmentId, now) {
      const found = known.get(deviceId);
      if (found?.assignmentId !== assignmentId) return undefined;
      const { like, loadedAt } = found;
      const age = now.getTime() - loadedAt;
      const isFresh = age >= 0 && age < TTL_MS && like.deadlineAt !== null && now < like.deadlineAt;
      return isFresh ? { ...like, id: assignmentId, deviceId, state: 'open', update: null } : undefined;
    },
    forget,
  };
}
