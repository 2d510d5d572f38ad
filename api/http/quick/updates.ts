import type { IncomingMessage } from 'node:http';
import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { recallDevice } from '../../services/identity/authentication.ts';
import type { Receipt } from '../../services/rounds/admissions.ts';
import { submitUpdate } from '../../services/rounds/updates.ts';
import { isTracing } from '../../tracing/spans.ts';
import type { Guards } from '../limits/guards.ts';
import { incomingBody, TENSOR_TYPE } from '../wire/body.ts';
import { readDigest } from '../wire/digests.ts';
import { answer, countRequest, type Failures, isPlain, type Quick } from './requests.ts';

const OPERATION = 'putUpdate';
const PATH = /^\/v1\/assignments\/([\da-f-]{36})\/update$/;
const LENGTH = /^[1-9]\d{0,14}$/;

/** An update that need not be looked at any further before its body is read. */
interface Known {
  device: DevicePrincipal;
  assignment: string;
  declared: DeclaredBody;
}

/**
 * The update of an assignment that this process told its device a moment ago, as most are: received as the operation
 * would, without the router, whose way costs as much as a small update itself. Whatever needs more thought, and every
 * refusal, is left to the app.
 */
export function createQuickUpdates(deps: Deps, guards: Guards, failures: Failures): Quick {
  return (incoming, outgoing, fallBack) => {
    if (incoming.method !== 'PUT' || guards.readLoad() !== 'normal' || isTracing()) return false;
    const started = performance.now();
    const known = recognize(deps, guards, incoming);
    if (!known) return false;
    const { told, refusal } = countRequest(guards, incoming, known.device, incoming.url!);
    const noteFailure = (error: unknown) =>
      failures.note(incoming, { operation: OPERATION, error, started, told });
    if (refusal) {
      noteFailure(refusal);
      return false;
    }
    const admitted = { incoming, outgoing, operation: OPERATION, path: incoming.url!, started, told };
    submitUpdate(deps, known.device, known.assignment, known.declared)
      .then(
        (receipt) => {
          answer(deps, guards, admitted, sayReceipt(receipt));
          deps.metrics.uploadedBytes.inc({ operation: OPERATION }, known.declared.bytes);
        },
        (error: unknown) => {
          noteFailure(error);
          fallBack();
        },
      )
      .catch((error: unknown) => {
        deps.log.error({ err: error }, 'an answer failed');
        outgoing.destroy();
      });
    return true;
  };
}

function recognize(deps: Deps, { uploads }: Guards, incoming: IncomingMessage): Known | undefined {
  const { headers, url } = incoming;
  const assignment = PATH.exec(url!)?.[1];
  if (assignment === undefined || headers['content-type'] !== TENSOR_TYPE || !isPlain(incoming))
    return undefined;
  const length = headers['content-length'];
  const digest = readDigest(headers['content-digest'] as string | undefined);
  if (digest === undefined || length === undefined || !LENGTH.test(length)) return undefined;
  const bytes = Number(length);
  if (bytes > deps.config.maxUpdateBytes) return undefined;
  const now = deps.clock.now();
  const device = recallDevice(deps, headers.authorization, now);
  if (!device || !deps.credentials.assignments.find(device.id, assignment, now)) return undefined;
  return {
    device,
    assignment,
    declared: { bytes, digest, body: incomingBody(incoming, uploads, bytes) },
  };
}

function sayReceipt(receipt: Receipt) {
  const content = JSON.stringify(receipt);
  const length = String(Buffer.byteLength(content));
  const headers = ['cache-control', 'no-store', 'content-type', 'application/json', 'content-length', length];
  return { status: receipt.status === 'accepted' ? 201 : 200, headers, content };
}
