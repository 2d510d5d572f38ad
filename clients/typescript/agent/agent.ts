import { keepDevice } from '../device/identity.ts';
import { awaitApproval, ensureRegistered } from '../device/registration.ts';
import { openSession, type Session } from '../device/session.ts';
import { getAssignment } from '../generated/sdk.gen.ts';
import type { Assignment } from '../generated/types.gen.ts';
import { hasCode, readRetryAfter } from '../http/problem-error.ts';
import { delayBefore } from '../http/retries.ts';
import type { AgentStore } from '../store/agent-store.ts';
import { type AgentOptions, type AgentSettings, withDefaults } from './agent-options.ts';
import { carryOut, settleUpdate } from './assignments.ts';
import { isFinal } from './final-errors.ts';
import { createPropertyReports, readProperties } from './reported-properties.ts';
import { listKeptUpdates } from './updates.ts';
import type { Work } from './work.ts';

/** Above the server's wait, so that a poll is cut only when the connection is dead. */
const POLL_SLACK_MS = 20_000;

export interface Agent {
  /**
   * Works until the signal is aborted, then resolves. It outlasts whatever may pass: cut connections, a server that
   * restarts, an assignment that fails. Rejects when nothing is left to try, as when the device is revoked.
   */
  run(): Promise<void>;
}

/** A device: registers, waits for assignments, trains through `trainer`, and sends what came of it. */
export function createAgent(options: AgentOptions): Agent {
  const settings = withDefaults(options);
  return { run: () => run(settings) };
}

async function run(settings: AgentSettings): Promise<void> {
  const { signal } = settings;
  try {
    const session = await startSession(settings);
    const work: Work = { session, settings, models: new Map() };
    await connect(work);
    for (const assignment of await listKeptUpdates(session)) {
      await outlast(work, 0, () => settleUpdate(work, assignment));
    }
    const reportProperties = createPropertyReports(session, settings.properties);
    let setbacks = 0;
    while (true) {
      setbacks = await outlast(work, setbacks, async () => {
        await reportProperties();
        const assignment = await poll(work);
        if (assignment) await carryOut(work, assignment);
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function startSession(settings: AgentSettings): Promise<Session> {
  const { url, audience, signal, timing, backoff, fetch, log, onProgress } = settings;
  const onRetry = (error: Error, delayMs: number): void => {
    log.warn({ err: error, delayMs }, 'trying again');
    onProgress({ type: 'retrying', error, delayMs });
  };
  const store = await openStore(settings);
  return openSession({ url, audience, signal, timing, backoff, fetch, store, onRetry });
}

async function openStore(options: AgentOptions): Promise<AgentStore> {
  if ('store' in options) return options.store;
  // Only where there are files: a browser brings its own store.
  const { createFileStore } = await import('../store/file-store.ts');
  return createFileStore(options.stateDir);
}

/** Joins, as a new device if the server does not know (any more) the one that it was. */
async function connect(work: Work): Promise<void> {
  try {
    await join(work);
  } catch (error) {
    if (!hasCode(error, 'invalid_client')) throw error;
    await rejoin(work, error);
  }
}

/** Registers where needed, and waits for approval where needed. */
async function join({ session, settings }: Work): Promise<void> {
  const { name, enrollmentToken, log, onProgress } = settings;
  const properties = await readProperties(settings.properties);
  await ensureRegistered(session, { name, enrollmentToken, properties });
  const device = session.identity.device!;
  await awaitApproval(session, () => {
    log.info({ device }, 'waiting for approval');
    onProgress({ type: 'pending' });
  });
  log.info({ device }, 'ready');
  onProgress({ type: 'ready', device });
}

/** An open assignment, or undefined after the server found nothing to do and its pause is over. */
async function poll({ session, settings }: Work): Promise<Assignment | undefined> {
  const { waitSeconds, timing } = settings;
  const query = { wait: waitSeconds };
  const { data, response } = await session.insist(
    (signal) => getAssignment({ client: session.api, query, signal }),
    { timeoutMs: waitSeconds * 1000 + POLL_SLACK_MS },
  );
  if (response.status === 200) return data as Assignment;
  await timing.sleep(readRetryAfter(response.headers) ?? 0, session.signal);
  return undefined;
}

/**
 * Does a piece of work and outlasts its failure, unless that is final: after a pause the next one may go better.
 * Returns how many have failed in a row.
 */
async function outlast(work: Work, setbacks: number, piece: () => Promise<void>): Promise<number> {
  const { session, settings } = work;
  try {
    await piece();
    return 0;
  } catch (error) {
    session.signal.throwIfAborted();
    if (isFinal(error)) throw error;
    settings.log.warn({ err: error }, 'something went wrong');
    if (hasCode(error, 'invalid_client')) await rejoin(work, error);
    else await settings.timing.sleep(delayBefore(setbacks, error, settings), session.signal);
    return setbacks + 1;
  }
}

async function rejoin(work: Work, error: unknown): Promise<void> {
  const { session, settings } = work;
  if (!settings.enrollmentToken) throw error;
  await keepDevice(session.store, session.identity, undefined);
  await join(work);
}
