import type { ServerResponse } from 'node:http';
import type { Deps } from '../../deps.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { recognizeDevice } from '../../services/identity/authentication.ts';
import { toDocument } from '../../services/rounds/assignments.ts';
import type { WaitingRoom } from '../../services/rounds/waiting-room.ts';
import type { Guards } from '../limits/guards.ts';
import {
  answerLater,
  type Content,
  type Failures,
  isPlainGet,
  jsonContent,
  mayBeQuick,
  type Quick,
} from './requests.ts';

const OPERATION = 'getAssignment';
const PATH = '/v1/assignment';
const QUERY = '?wait=';
/** Up to 60, as the operation has it. */
const WAIT = /^(?:[1-5]?\d|60)$/;
/** Made once: an error with a stack for each device that leaves is dear. */
const GONE = new Error('the device has gone');

/**
 * The long poll of a device whose token is known. By the router's way each that waits takes 5 KB more, and a round that
 * invites thousands answers the last of them a quarter later.
 */
export function createQuickPolls(
  deps: Deps,
  guards: Guards,
  { waitingRoom, failures }: { waitingRoom: WaitingRoom; failures: Failures },
): Quick {
  async function poll(device: DevicePrincipal, waitMs: number, departure: AbortSignal): Promise<Content> {
    const result = await waitingRoom.wait(device, waitMs, departure);
    if (result.status === 'assigned') return jsonContent(200, toDocument(deps, result.assignment));
    const headers = ['cache-control', 'no-store', 'retry-after', String(result.retryAfterSeconds)];
    return { status: 204, headers, content: undefined };
  }

  return (incoming, outgoing, fallBack) => {
    const waitMs = readWait(incoming.url!);
    if (waitMs === undefined || !isPlainGet(incoming) || !mayBeQuick(guards)) return false;
    const started = performance.now();
    const asked = recognizeDevice(deps, incoming.headers.authorization, deps.clock.now());
    if (!asked) return false;
    const taken = { incoming, outgoing, operation: OPERATION, path: PATH, started };
    const departure = departureOf(outgoing);
    answerLater(deps, { guards, failures }, taken, {
      recognize: async () => asked,
      serve: (device) => poll(device, waitMs, departure),
      fallBack,
    });
    return true;
  };
}

/** How long the device wants to wait. Undefined: this is another request, or one to think about. */
function readWait(url: string): number | undefined {
  if (!url.startsWith(PATH)) return undefined;
  if (url.length === PATH.length) return 0;
  if (!url.startsWith(QUERY, PATH.length)) return undefined;
  const wait = url.slice(PATH.length + QUERY.length);
  return WAIT.test(wait) ? Number(wait) * 1000 : undefined;
}

/** Aborts when the connection ends before the answer. */
function departureOf(outgoing: ServerResponse): AbortSignal {
  const departure = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) departure.abort(GONE);
  });
  return departure.signal;
}
