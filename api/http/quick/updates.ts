import type { IncomingMessage } from 'node:http';
import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { recognizeDevice } from '../../services/identity/authentication.ts';
import { submitUpdate } from '../../services/rounds/updates.ts';
import type { Guards } from '../limits/guards.ts';
import { incomingBody, TENSOR_TYPE } from '../wire/body.ts';
import { readDigest } from '../wire/digests.ts';
import {
  answerLater,
  type Content,
  type Failures,
  isPlain,
  jsonContent,
  mayBeQuick,
  type Quick,
} from './requests.ts';

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

/**
 * The update of an assignment that this process told its device, as most are: received as the operation would, without
 * the router, whose way costs as much as a small update itself. Whatever needs more thought, and every refusal, is left to
 * the app.
 */
export function createQuickUpdates(deps: Deps, guards: Guards, { failures }: { failures: Failures }): Quick {
  async function receive({ assignment, declared }: Announced, device: DevicePrincipal): Promise<Content> {
    const receipt = await submitUpdate(deps, device, assignment, declared);
    deps.metrics.uploadedBytes.inc({ operation: OPERATION }, declared.bytes);
    return jsonContent(receipt.status === 'accepted' ? 201 : 200, receipt);
  }

  return (incoming, outgoing, fallBack) => {
    if (incoming.method !== 'PUT' || !mayBeQuick(guards)) return false;
    const started = performance.now();
    const announced = readAnnounced(deps, guards, incoming);
    if (!announced) return false;
    const taken = { incoming, outgoing, operation: OPERATION, path: incoming.url!, started };
    answerLater(deps, { guards, failures }, taken, {
      async recognize() {
        const device = await announced.device;
        const now = deps.clock.now();
        return deps.credentials.assignments.find(device.id, announced.assignment, now) && device;
      },
      serve: (device) => receive(announced, device),
      fallBack,
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
