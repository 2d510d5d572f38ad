import type { Deps } from '../deps.ts';
import { pollDelaySeconds } from '../domain/pace.ts';
import type { Principal } from '../domain/role.ts';
import { type AssignmentRow, findOpenAssignments, isRoundPending } from '../store/assignments.ts';
import { channels, notify } from '../store/channels.ts';
import { touchDevices } from '../store/devices.ts';

type DevicePrincipal = Extract<Principal, { kind: 'device' }>;

export type PollResult =
  | { status: 'assigned'; assignment: AssignmentRow }
  | { status: 'none'; retryAfterSeconds: number };

/** The devices that wait on this replica. */
export interface WaitingRoom {
  /** Resolves with the device's open assignment as soon as it has one, or without after `waitMs` or on abort. */
  wait(device: DevicePrincipal, waitMs: number, signal: AbortSignal): Promise<PollResult>;
}

interface Waiter {
  settle(assignment: AssignmentRow | undefined): void;
}

/** A look at the tables even without a wake, in case that one was missed. */
const LOOK_MS = 5000;
const BATCH = 10_000;

/**
 * One query for all devices that wait here, when assignments were made, every 5 s and after a reconnect: a waiting
 * device costs a socket and a timer, no query of its own.
 */
export function createWaitingRoom(deps: Deps): WaitingRoom {
  const waiters = new Map<string, Set<Waiter>>();
  let looking = false;
  let again = false;

  async function look(): Promise<void> {
    const ids = [...waiters.keys()];
    for (let start = 0; start < ids.length; start += BATCH) {
      const batch = ids.slice(start, start + BATCH);
      await touchDevices(deps.db.pool, batch, deps.clock.now());
      for (const assignment of await findOpenAssignments(deps.db.pool, batch)) {
        for (const waiter of waiters.get(assignment.deviceId) ?? []) waiter.settle(assignment);
      }
    }
  }

  /** Wakes that come while a look is under way are answered by one more look. */
  async function wake(): Promise<void> {
    again = true;
    if (looking) return;
    looking = true;
    while (again && waiters.size > 0) {
      again = false;
      await look().catch((error: unknown) => deps.log.warn({ err: error }, 'cannot look for assignments'));
    }
    looking = false;
  }

  deps.listener.subscribe(channels.assignments, wake);
  setInterval(wake, LOOK_MS).unref();

  return {
    async wait(device, waitMs, signal) {
      const none = (): PollResult => ({
        status: 'none',
        retryAfterSeconds: pollDelaySeconds(waiters.size, Math.random()),
      });
      // Registered before the first look: an assignment that is made in between wakes it.
      const waiting = enter(waiters, device.id, waitMs, AbortSignal.any([signal, deps.stopping]));
      try {
        const assignment = (await arrive(deps, device)) ?? (await waiting.settled);
        return assignment ? { status: 'assigned', assignment } : none();
      } finally {
        waiting.leave();
      }
    },
  };
}

/** The device's open assignment, if it has one; else workers hear of it if a round waits for devices. */
async function arrive(deps: Deps, device: DevicePrincipal): Promise<AssignmentRow | undefined> {
  const { pool } = deps.db;
  const [assignment] = await findOpenAssignments(pool, [device.id]);
  await touchDevices(pool, [device.id], deps.clock.now());
  if (!assignment && (await isRoundPending(pool, device.federationId))) await notify(pool, channels.work);
  return assignment;
}

function enter(waiters: Map<string, Set<Waiter>>, deviceId: string, waitMs: number, signal: AbortSignal) {
  const { promise, resolve } = Promise.withResolvers<AssignmentRow | undefined>();
  const waiter: Waiter = { settle: (assignment) => finish(assignment) };
  const timer = setTimeout(() => finish(undefined), waitMs);
  const abort = () => finish(undefined);
  signal.addEventListener('abort', abort, { once: true });
  const others = waiters.get(deviceId) ?? new Set();
  waiters.set(deviceId, others.add(waiter));
  if (signal.aborted) finish(undefined);

  function finish(assignment: AssignmentRow | undefined): void {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    others.delete(waiter);
    if (others.size === 0 && waiters.get(deviceId) === others) waiters.delete(deviceId);
    resolve(assignment);
  }

  return { settled: promise, leave: () => finish(undefined) };
}
