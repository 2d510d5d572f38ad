import { z } from '@hono/zod-openapi';
import type { RoundView, UpdateView } from '../../services/rounds/rounds.ts';
import { metrics } from './assignments.ts';
import { instant, runId } from './runs.ts';
import { modelName } from './versions.ts';

export const roundId = z.uuid().openapi({ example: '0198c5b0-11aa-7d20-8c11-0e2f4a6b8c0d' });
export const RoundKindName = z
  .enum(['train', 'evaluate'])
  .openapi({ description: 'Whether devices train or measure.', example: 'train' });

const whole = (description: string, example: number) => z.int().min(0).openapi({ description, example });
const reason = (description: string, example: string) =>
  z.string().max(200).optional().openapi({ description, example });

export const Round = z
  .object({
    id: roundId,
    run: runId,
    model: modelName,
    kind: RoundKindName,
    number: whole('Counts from 1 in its run and kind.', 4),
    state: z
      .enum(['pending', 'collecting', 'aggregating', 'completed', 'failed'])
      .openapi({ example: 'completed' }),
    reason: reason('Why it failed.', 'below_quorum'),
    baseVersion: whole('The version that the cohort trains from, or evaluates.', 4),
    version: whole('The version that it published.', 5).optional(),
    quorum: whole('Fewest updates that it needs.', 2),
    capacity: whole('Most updates that it takes.', 4),
    population: whole('Devices that could have been invited.', 10),
    invited: whole('Assignments made, also those that were given back.', 6),
    openAssignments: whole('Devices that are still at work.', 0),
    accepted: whole('Updates acknowledged.', 4),
    metrics: metrics
      .optional()
      .openapi({ description: 'What the devices reported, averaged by their examples.' }),
    score: metrics
      .optional()
      .openapi({ description: "What its version scored on the model's evaluation set." }),
    openedAt: instant,
    pendingUntil: instant.openapi({ description: 'Until then it waits for enough devices.' }),
    collectingAt: instant.optional(),
    deadlineAt: instant.optional().openapi({ description: 'From then on updates are late.' }),
    closedAt: instant.optional(),
    endedAt: instant.optional(),
  })
  .openapi('Round');

export const Update = z
  .object({
    assignment: z.uuid().openapi({ example: '0198c5b1-22bb-7e31-9d22-1f3a5b7c9d1e' }),
    device: z.uuid().openapi({ example: '0198c5a0-00cc-7f42-ae33-2a4b6c8d0e2f' }),
    sequence: z.int().min(1).openapi({ description: 'Its place in the order of folding.', example: 1 }),
    state: z.enum(['accepted', 'folded', 'rejected', 'expired']).openapi({ example: 'folded' }),
    reason: reason('Why it was not folded.', 'digest_mismatch'),
    digest: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .openapi({
        description: 'SHA-256 of the file, hex.',
        example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      }),
    bytes: whole('The size of the file.', 407_936),
    numExamples: whole('Examples that it was trained on.', 2400),
    weight: z.number().openapi({ description: 'What it counts in the fold.', example: 2400 }),
    norm: z.number().openapi({ description: 'L2 norm of the delta.', example: 0.42 }),
    metrics,
    receivedAt: instant,
  })
  .openapi('Update');

export function toRound(round: RoundView): z.infer<typeof Round> {
  const { id, runId, model, kind, number, state, baseVersion, quorum, capacity } = round;
  return {
    id,
    run: runId,
    model,
    kind,
    number,
    state,
    ...present({ reason: round.reason, version: round.version }),
    baseVersion,
    quorum,
    capacity,
    population: round.population,
    invited: round.invited,
    openAssignments: round.openAssignments,
    accepted: round.accepted,
    ...present({ metrics: round.metrics, score: round.score }),
    openedAt: round.openedAt.toISOString(),
    pendingUntil: round.pendingUntil.toISOString(),
    ...present({
      collectingAt: round.collectingAt?.toISOString(),
      deadlineAt: round.deadlineAt?.toISOString(),
      closedAt: round.closedAt?.toISOString(),
      endedAt: round.endedAt?.toISOString(),
    }),
  };
}

export function toUpdate(update: UpdateView): z.infer<typeof Update> {
  const { assignmentId, deviceId, sequence, state, digest, bytes, numExamples, weight, norm } = update;
  return {
    assignment: assignmentId,
    device: deviceId,
    sequence,
    state,
    ...present({ reason: update.reason }),
    digest,
    bytes,
    numExamples,
    weight,
    norm,
    metrics: update.metrics,
    receivedAt: update.receivedAt.toISOString(),
  };
}

type Present<T> = { [K in keyof T]?: NonNullable<T[K]> };

/** Leaves out what has no value: absent members, not nulls. */
function present<T extends object>(members: T): Present<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value != null)) as Present<T>;
}
