import type { IncomingMessage } from 'node:http';
import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { recognizeDevice } from '../../services/identity/authentication.ts';
import type { Receipt } from '../../services/rounds/admissions.ts';
import { submitUpdate } from '../../services/rounds/updates.ts';
import { isTracing } from '../../tracing/spans.ts';
import type { Guards } from '../limits/guards.ts';
import { incomingBody, TENSOR_TYPE } from '../wire/body.ts';
import { readDigest } from '../wire/digests.ts';
import { type Admitted, answer, countRequest, type Failures, isPlain, type Quick } from './requests.ts';

const OPERATION = 'putUpdate';
const PATH = /^\/v1\/assignments\/([\da-f-]{36})\/update$/;
const LENGTH = /^[1-9]\d{0,14}$/;

/** What a request says that it brings. */
interface Announced {
  assignment: string;
  declared: DeclaredBody;
  /** Asked for, where its key was not looked at for a while: trainings take longer than it is remembered. */
  device: DevicePrincipal | Promise<DevicePrincipal>;
}

/** An update that was received, and what its answer says. */
interface Received {
  admitted: Admitted;
  receipt: Receipt;
}

/**
 * The update of an assignment that this process told its device, as most are: received as the operation would, without
 * the router, whose way costs as much as a small update itself. Whatever needs more thought, and every refusal, is left to
 * the app.
 */
export function createQuickUpdates(deps: Deps, guards: Guards, failures: Failures): Quick {
  /** Undefined: it was refused, or is not for us. */
  async function receive(
    request: Pick<Admitted, 'incoming' | 'outgoing' | 'started'>,
    announced: Announced,
  ): Promise<Received | undefined> {
    const { incoming } = request;
    const { assignment, declared } = announced;
    const path = incoming.url!;
    let told: readonly string[] = [];
    try {
      const device = await announced.device;
      if (!deps.credentials.assignments.find(device.id, assignment, deps.clock.now())) return undefined;
      const counted = countRequest(guards, incoming, device, path);
      told = counted.told;
      if (counted.refusal) throw counted.refusal;
      const receipt = await submitUpdate(deps, device, assignment, declared);
      deps.metrics.uploadedBytes.inc({ operation: OPERATION }, declared.bytes);
      return { admitted: { ...request, operation: OPERATION, path, told }, receipt };
    } catch (error) {
      failures.note(incoming, { operation: OPERATION, error, started: request.started, told });
      return undefined;
    }
  }

  return (incoming, outgoing, fallBack) => {
    if (incoming.method !== 'PUT' || guards.readLoad() !== 'normal' || isTracing()) return false;
    const started = performance.now();
    const announced = readAnnounced(deps, guards, incoming);
    if (!announced) return false;
    receive({ incoming, outgoing, started }, announced)
      .then((received) => {
        if (received) answer(deps, guards, received.admitted, sayReceipt(received.receipt));
        else fallBack();
      })
      .catch((error: unknown) => {
        deps.log.error({ err: error }, 'an answer failed');
        outgoing.destroy();
      });
    return true;
  };
}

function readAnnounced(deps: Deps, { uploads }: Guards, incoming: IncomingMessage): Announced | undefined {
  const { headers, url } = incoming;
  const assignment = PATH.exec(url!)?.[1];
  if (assignment === undefined || headers['content-type'] !== TENSOR_TYPE || !isPlain(incoming))
    return undefined;
  const length = headers['content-length'];
  const digest = readDigest(headers['content-digest'] as string | undefined);
  if (digest === undefined || length === undefined || !LENGTH.test(length)) return undefined;
  const bytes = Number(length);
  if (bytes > deps.config.maxUpdateBytes) return undefined;
  const device = recognizeDevice(deps, headers.authorization, deps.clock.now());
  if (!device) return undefined;
  return { assignment, device, declared: { bytes, digest, body: incomingBody(incoming, uploads, bytes) } };
}

function sayReceipt(receipt: Receipt) {
  const content = JSON.stringify(receipt);
  const length = String(Buffer.byteLength(content));
  const headers = ['cache-control', 'no-store', 'content-type', 'application/json', 'content-length', length];
  return { status: receipt.status === 'accepted' ? 201 : 200, headers, content };
}
