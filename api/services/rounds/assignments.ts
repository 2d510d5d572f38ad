import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { chosenStrategy } from '../../domain/strategies/index.ts';
import { encodings } from '../../domain/update.ts';
import { forgetAssignment } from '../../store/identity/credential-cache.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import {
  type AssignmentRow,
  findAssignment,
  giveBackAssignment,
  type OpenAssignment,
} from '../../store/rounds/assignments.ts';
import { traceparentOf } from '../../tracing/spans.ts';
import { weightsPath } from '../models/paths.ts';
import { mostUpdateBytes } from './admissions.ts';

/** What one device has to do: everything that it needs is named here. */
export interface AssignmentDocument {
  id: string;
  kind: 'train' | 'evaluate';
  run: string;
  round: string;
  roundNumber: number;
  model: string;
  modelUrl: string;
  baseVersion: number;
  downloads: { role: 'weights'; url: string; digest: string; bytes: number }[];
  hyperparameters: Record<string, string | number | boolean>;
  /** Differs between rounds and devices: for the order of a device's examples. */
  seed: number;
  deadlineAt: Date;
  /** For the headers of its requests, so that its part shows in the round's trace. */
  traceparent?: string;
  update?: { url: string; maxBytes: number; encodings: string[]; scalars: string[] };
  evaluation?: { url: string };
}

/** The device's own assignment, whatever its state. */
export async function requireAssignment(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
): Promise<AssignmentRow> {
  const assignment = await findAssignment(deps.db.pool, device.federationId, device.id, assignmentId);
  if (!assignment) throw new FedEdgeError('not_found');
  return assignment;
}

/** Renders an open assignment. The same assignment gives the same document at every poll. */
export function toDocument(deps: Deps, assignment: OpenAssignment): AssignmentDocument {
  const { id, kind, model, baseVersion, settings } = assignment;
  const traceparent = traceparentOf(assignment.roundId);
  const common = {
    id,
    kind,
    run: assignment.runId,
    round: assignment.roundId,
    roundNumber: assignment.roundNumber,
    model,
    modelUrl: `/v1/models/${model}`,
    baseVersion,
    downloads: [
      {
        role: 'weights' as const,
        url: weightsPath(model, baseVersion),
        digest: assignment.digest,
        bytes: assignment.bytes,
      },
    ],
    hyperparameters: settings.hyperparameters,
    seed: deviceSeed(assignment),
    deadlineAt: assignment.deadlineAt!,
    ...(traceparent !== undefined && { traceparent }),
  };
  if (kind === 'evaluate') return { ...common, evaluation: { url: `/v1/assignments/${id}/evaluation` } };
  return {
    ...common,
    update: {
      url: `/v1/assignments/${id}/update`,
      maxBytes: mostUpdateBytes(deps, assignment),
      encodings: [...encodings],
      scalars: [...chosenStrategy(assignment.settings.strategy).scalars],
    },
  };
}

/** Gives an open assignment back (battery, no data), so that the server invites another device. A repeat changes nothing. */
export async function returnAssignment(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  reason: string,
): Promise<void> {
  const assignment = await requireAssignment(deps, device, assignmentId);
  if (assignment.state === 'returned') return;
  const returned = await deps.db.transaction(async (tx) => {
    const now = deps.clock.now();
    const settled = await giveBackAssignment(tx, assignment, { reason, now });
    if (settled) await notify(tx, channels.work);
    return settled;
  });
  forgetAssignment(deps.credentials, device.id);
  if (returned) return;
  const { state } = await requireAssignment(deps, device, assignmentId);
  if (state !== 'returned') throw new FedEdgeError('assignment_settled', { state });
}

function deviceSeed({ seed, deviceId }: OpenAssignment): number {
  return (seed ^ Number.parseInt(deviceId.slice(-8), 16)) >>> 0;
}
