import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Deps } from '../../deps.ts';
import { pollDelaySeconds } from '../../domain/pace.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { findRevokedDevices, touchDevices } from '../../store/identity/devices.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { areDevicesWanted } from '../../store/rounds/agenda.ts';
import { findOpenAssignments, type OpenAssignment } from '../../store/rounds/assignments.ts';
import { gatherQuestions } from './arrivals.ts';

export type PollResult =
  | { status: 'assigned'; assignment: OpenAssignment }
  | { status: 'none'; retryAfterSeconds: number };

/** The devices that wait on this replica. */
export interface WaitingRoom {
  /** Resolves with the device's open assignment as soon as it has one, or without after `waitMs` or on abort. */
  wait(device: DevicePrincipal, waitMs: number, signal: AbortSignal): Promise<PollResult>;
}

type Settle = (assignment: OpenAssignment | undefined) => void;

/** A look at the tables even without a wake, in case that one was missed. */
const LOOK_MS = 5000;
/** Who arrives within so long of others is asked for together with them: a crowd comes back every half minute. */
const ARRIVALS_MS = 5;
const BATCH = 10_000;
/** Answers that are begun in one turn of the event loop: they take some milliseconds, and the first ones then leave. */
const ANSWERS_A_TURN = 200;

/**
 * One question for all devices that wait here, when assignments were made, every 5 s and after a reconnect: a waiting
 * device costs a socket and a timer, no query of its own. Those that arrive at once are asked for at once, too. A
 * device that is revoked does not wait on: its poll ends at once, and within 5 s if nobody tells us.
 */
export function createWaitingRoom(deps: Deps): WaitingRoom {
  const waiters = new Map<string, Set<Settle>>();
  const arrive = gatherQuestions((devices: readonly DevicePrincipal[]) => findWork(deps, devices), {
    pauseMs: ARRIVALS_MS,
  });
  const look = createLook(deps, waiters);
  deps.listener.subscribe(channels.assignments, look);
  // Its credentials changed, maybe to none: the poll that comes instead tells.
  deps.listener.subscribe(channels.credentials, (id) => turnAway(waiters, [id]));
  setInterval(look, LOOK_MS).unref();
  deps.stopping.addEventListener('abort', () => {
    turnAway(waiters, [...waiters.keys()]);
  });

  return {
    async wait(device, waitMs, signal) {
      // Registered before the first question: an assignment that is made in between wakes it.
      const waiting = enter(waiters, device.id, waitMs, signal);
      deps.metrics.waitingDevices.set(waiters.size);
      if (deps.stopping.aborted) waiting.leave();
      try {
        const assignment = (await arrive(device)) ?? (await waiting.settled);
        if (assignment) return { status: 'assigned', assignment };
        return { status: 'none', retryAfterSeconds: pollDelaySeconds(waiters.size, Math.random()) };
      } finally {
        waiting.leave();
        deps.metrics.waitingDevices.set(waiters.size);
      }
    },
  };
}

/** Asks for all who wait. Wakes that come while one look is under way are answered by one more. */
function createLook(deps: Deps, waiters: ReadonlyMap<string, ReadonlySet<Settle>>): () => void {
  let isLooking = false;
  let again = false;

  async function look(): Promise<void> {
    const ids = [...waiters.keys()];
    for (let start = 0; start < ids.length; start += BATCH) {
      const batch = ids.slice(start, start + BATCH);
      const [revoked, found] = await Promise.all([
        findRevokedDevices(deps.db.pool, batch),
        findAssignments(deps, batch),
      ]);
      turnAway(waiters, revoked);
      await handOut(waiters, found);
      // Afterwards: nobody who has something to do is to wait for it.
      await touch(deps, batch);
    }
  }

  async function repeat(): Promise<void> {
    while (again && waiters.size > 0) {
      again = false;
      await look().catch((error: unknown) => deps.log.warn({ err: error }, 'cannot look for assignments'));
    }
  }

  return () => {
    again = true;
    if (isLooking) return;
    isLooking = true;
    void repeat().finally(() => {
      isLooking = false;
    });
  };
}

/** The open assignments of devices that have just arrived. Workers hear of those that have none, if a round wants any. */
async function findWork(
  deps: Deps,
  devices: readonly DevicePrincipal[],
): Promise<Map<string, OpenAssignment>> {
  const { pool } = deps.db;
  const ids = devices.map(({ id }) => id);
  const [found] = await Promise.all([findAssignments(deps, ids), touch(deps, ids)]);
  if (found.size === devices.length) return found;
  // Asked after they are known to be present: a round that opens from now on finds them by itself.
  const federationIds = [...new Set(devices.map(({ federationId }) => federationId))];
  if (await areDevicesWanted(pool, federationIds)) await notify(pool, channels.work);
  return found;
}

/** The assignment that each device has to do first. */
async function findAssignments(
  deps: Deps,
  deviceIds: readonly string[],
): Promise<Map<string, OpenAssignment>> {
  const open = await deps.credentials.assignments.load(deps.clock.now(), () =>
    findOpenAssignments(deps.db.pool, deviceIds),
  );
  // Train assignments come before evaluate ones: of two of a device, the later in the list is replaced.
  return new Map(open.reverse().map((assignment) => [assignment.deviceId, assignment]));
}

/** That they ask says that they are present. */
function touch(deps: Deps, deviceIds: readonly string[]): Promise<void> {
  return touchDevices(deps.db.pool, deviceIds, deps.clock.now());
}

/** A whole cohort may be woken at once: other requests, and the first of its answers, do not wait for the last. */
async function handOut(
  waiters: ReadonlyMap<string, ReadonlySet<Settle>>,
  found: ReadonlyMap<string, OpenAssignment>,
): Promise<void> {
  let begun = 0;
  for (const [deviceId, assignment] of found) {
    for (const settle of waiters.get(deviceId) ?? []) settle(assignment);
    begun += 1;
    if (begun % ANSWERS_A_TURN === 0) await nextTurn();
  }
}

/** Ends the polls of these devices without an assignment. */
function turnAway(waiters: ReadonlyMap<string, ReadonlySet<Settle>>, deviceIds: readonly string[]): void {
  for (const id of deviceIds) for (const settle of [...(waiters.get(id) ?? [])]) settle(undefined);
}

function enter(waiters: Map<string, Set<Settle>>, deviceId: string, waitMs: number, signal: AbortSignal) {
  const { promise, resolve } = Promise.withResolvers<OpenAssignment | undefined>();
  const leave = () => settle(undefined);
  const timer = setTimeout(leave, waitMs);
  signal.addEventListener('abort', leave, { once: true });
  const others = waiters.get(deviceId) ?? new Set();
  waiters.set(deviceId, others.add(settle));
  if (signal.aborted) leave();

  function settle(assignment: OpenAssignment | undefined): void {
    clearTimeout(timer);
    signal.removeEventListener('abort', leave);
    others.delete(settle);
    if (others.size === 0 && waiters.get(deviceId) === others) waiters.delete(deviceId);
    resolve(assignment);
  }

  return { settled: promise, leave };
}
