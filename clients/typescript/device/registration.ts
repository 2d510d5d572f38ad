import { registerDevice } from '../generated/sdk.gen.ts';
import type { DeviceProperties, RegisteredDevice } from '../generated/types.gen.ts';
import { settle, within } from '../http/calls.ts';
import { hasCode } from '../http/problem-error.ts';
import { keepDevice } from './identity.ts';
import type { Session } from './session.ts';
import { signProof } from './signing.ts';

const TIMEOUT_MS = 30_000;
/** How often a device asks whether it was approved. */
const APPROVAL_MS = 10_000;

export interface Registration {
  name: string;
  enrollmentToken?: string | undefined;
  properties: DeviceProperties;
}

/**
 * Makes the device known to the server, unless it is. A lost answer is harmless: the same key with the same token gets
 * the first answer again. Throws what the server refuses, and an error if there is no enrolment token to register with.
 */
export async function ensureRegistered(session: Session, registration: Registration): Promise<void> {
  const { identity, store } = session;
  if (identity.device) return;
  const { enrollmentToken } = registration;
  if (!enrollmentToken) throw new Error('the device is not registered: it needs an enrolment token');
  const { id } = await session.persist(() => registerInTime(session, { ...registration, enrollmentToken }));
  await keepDevice(store, identity, id);
}

/** Waits until an operator has approved the device; resolves at once if that is not needed. */
export async function awaitApproval(session: Session, onPending: () => void): Promise<void> {
  const { timing, signal } = session;
  while (true) {
    try {
      return await session.persist(() => session.authenticate());
    } catch (error) {
      if (!hasCode(error, 'device_pending')) throw error;
      onPending();
      await timing.sleep(APPROVAL_MS * (0.5 + timing.random()), signal);
    }
  }
}

type Known = Registration & { enrollmentToken: string };

/** Once more after the server has told the time to a device whose clock is off. */
async function registerInTime(session: Session, registration: Known): Promise<RegisteredDevice> {
  try {
    return await registerOnce(session, registration);
  } catch (error) {
    if (!hasCode(error, 'clock_skew')) throw error;
    session.clock.set(error.details.serverTime);
    return registerOnce(session, registration);
  }
}

async function registerOnce(session: Session, registration: Known): Promise<RegisteredDevice> {
  const { api, identity, audience, clock, signal } = session;
  const { enrollmentToken, name, properties } = registration;
  const proof = await signProof(identity, { audience, now: clock.now(), enrollmentToken });
  const body = { enrollmentToken, name, properties, key: identity.publicKey, proof };
  const call = registerDevice({ client: api, body, signal: within(TIMEOUT_MS, signal) });
  return (await settle(call, signal)).data;
}
