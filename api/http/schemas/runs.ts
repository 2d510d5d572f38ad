import { z } from '@hono/zod-openapi';
import type { RunRequest, RunView } from '../../services/rounds/runs.ts';
import { line } from './text.ts';
import { modelName } from './versions.ts';

const MAX_DEVICES = 100_000;
const DAY_MS = 86_400_000;
const minute = 60_000;

export const runId = z.uuid().openapi({ example: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' });
export const instant = z.iso.datetime().openapi({ example: '2026-03-01T10:00:00.000Z' });

const word = z.string().regex(/^[\w.-]{1,64}$/);
const scalar = z.union([line(200), z.number(), z.boolean()]);
const named = (most: number, description: string, example: Record<string, string | number | boolean>) =>
  z
    .record(word, scalar)
    .refine((value) => Object.keys(value).length <= most, `at most ${most} members`)
    .openapi({ description, example, maxProperties: most });

const count = (description: string, example: number) =>
  z.int().min(1).max(MAX_DEVICES).openapi({ description, example });
const duration = (description: string, example: number) =>
  z
    .int()
    .min(100)
    .max(30 * DAY_MS)
    .openapi({ description, example });

const RunStrategy = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9-]{1,40}$/)
      .openapi({ example: 'fedavg' }),
    parameters: named(32, 'What the strategy takes; unknown ones are refused.', {
      maxWeight: 10_000,
    }).default({}),
  })
  .openapi('RunStrategy');

const RunSelection = z
  .strictObject({
    labels: z
      .record(line(63), line(128))
      .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels')
      .openapi({
        description: 'Labels that a device must have.',
        example: { site: 'berlin' },
        maxProperties: 32,
      })
      .optional(),
    minMemoryMb: z.int().min(0).max(100_000_000).optional().openapi({ example: 512 }),
    minBattery: z.number().min(0).max(1).optional().openapi({ example: 0.3 }),
    chargingOnly: z.boolean().optional().openapi({ example: false }),
    unmeteredOnly: z.boolean().optional().openapi({ example: true }),
  })
  .openapi('RunSelection', {
    description: 'What a device has to be, beside active and present, to be invited.',
  });

const RunEvaluation = z
  .strictObject({
    everyRounds: count('After every so many published versions.', 5),
    quorum: count('Fewest devices that make a result.', 2),
    capacity: count('Most devices that are heard.', 10),
    deadlineMs: duration('How long the devices have.', 5 * minute).default(5 * minute),
  })
  .openapi('RunEvaluation', {
    description:
      'Evaluate rounds: devices measure published versions on their own data, beside the training.',
  });

const settings = {
  strategy: RunStrategy,
  hyperparameters: named(64, 'Passed to the devices as they are.', {
    epochs: 1,
    batchSize: 32,
    learningRate: 0.1,
  }),
  selection: RunSelection,
  rounds: z.int().min(1).max(1_000_000).openapi({ description: 'Versions to publish.', example: 10 }),
  quorum: count('Fewest updates that a round needs.', 2),
  deadlineMs: duration('How long a cohort has.', 10 * minute),
  pendingMs: duration('How long a round waits for enough devices.', 5 * minute),
  presenceMs: duration('A device that was not heard of for so long is not invited.', 2 * minute),
  maxFailedRounds: z
    .int()
    .min(1)
    .max(1000)
    .openapi({ description: 'The run fails after so many failed rounds in a row.', example: 5 }),
  retainUpdates: z
    .boolean()
    .openapi({ description: "Keep the updates' files after their round.", example: false }),
  retainUpdatesForDays: z.int().min(1).max(3650).optional().openapi({
    description: 'Keep them for so long at most. Absent: until the quota is used up.',
    example: 30,
  }),
  evaluate: RunEvaluation.optional(),
};
const capacity = count('Most updates that a round takes: it closes with the last of them.', 4);
const seed = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
  .openapi({ description: 'Decides which devices are drawn.', example: 42 });
const runName = line(100).openapi({ description: 'For people.', example: 'first training' });
const endAt = instant.openapi({ description: 'No round opens from then on.' });

export const CreateRun = z
  .strictObject({
    model: modelName,
    name: runName.default(''),
    ...settings,
    strategy: settings.strategy.default({ name: 'fedavg', parameters: {} }),
    hyperparameters: settings.hyperparameters.default({}),
    selection: settings.selection.default({}),
    rounds: settings.rounds.default(10),
    quorum: settings.quorum.default(2),
    deadlineMs: settings.deadlineMs.default(10 * minute),
    pendingMs: settings.pendingMs.default(5 * minute),
    presenceMs: settings.presenceMs.default(2 * minute),
    maxFailedRounds: settings.maxFailedRounds.default(5),
    retainUpdates: settings.retainUpdates.default(false),
    capacity: capacity
      .optional()
      .openapi({ description: 'Most updates that a round takes. Absent: twice the quorum.', example: 4 }),
    seed: seed
      .optional()
      .openapi({ description: 'Decides which devices are drawn. Absent: drawn.', example: 42 }),
    endAt: endAt.optional(),
  })
  .openapi('CreateRun', {
    example: {
      model: 'mnist-cnn',
      rounds: 10,
      quorum: 3,
      hyperparameters: { epochs: 1, batchSize: 32, learningRate: 0.1 },
    },
  });

export const RunStateName = z
  .enum(['active', 'paused', 'completed', 'stopped', 'failed'])
  .openapi({ description: 'The state of the run.', example: 'active' });

export const Run = z
  .object({
    id: runId,
    model: modelName,
    name: runName,
    state: RunStateName,
    reason: z.string().max(100).optional().openapi({
      description: 'Why it is over: `rounds_done`, `end_at`, `max_failed_rounds`, `stopped`.',
      example: 'rounds_done',
    }),
    completedRounds: z.int().min(0).openapi({ description: 'Versions that it has published.', example: 3 }),
    failedInARow: z
      .int()
      .min(0)
      .openapi({ description: 'Rounds that failed since the last one.', example: 0 }),
    lastRound: z.int().min(0).openapi({ description: 'The number of the newest train round.', example: 4 }),
    ...settings,
    capacity,
    seed,
    createdAt: instant,
    endAt: endAt.optional(),
    endedAt: instant.optional(),
  })
  .openapi('Run');

export function toRunRequest(body: z.infer<typeof CreateRun>): RunRequest {
  const { model, name, endAt, capacity, seed, ...rest } = body;
  return {
    model,
    name,
    ...(endAt === undefined ? {} : { endAt: new Date(endAt) }),
    settings: {
      ...rest,
      ...(capacity === undefined ? {} : { capacity }),
      ...(seed === undefined ? {} : { seed }),
    },
  };
}

/** A run that comes from elsewhere than a request, held against the same schema; the faults in one line. */
export function readRun(body: unknown): { ok: true; value: RunRequest } | { ok: false; message: string } {
  const { success, data, error } = CreateRun.safeParse(body);
  if (success) return { ok: true, value: toRunRequest(data) };
  const faults = error.issues.slice(0, 10).map(({ path, message }) => [...path, message].join(': '));
  return { ok: false, message: faults.join('; ') };
}

export function toRun(run: RunView): z.infer<typeof Run> {
  const { id, model, name, state, reason, completedRounds, failedInARow, lastRound } = run;
  return {
    id,
    model,
    name,
    state,
    ...(reason === null ? {} : { reason }),
    completedRounds,
    failedInARow,
    lastRound,
    ...(run.settings as Omit<typeof run.settings, 'strategy'> & { strategy: z.infer<typeof RunStrategy> }),
    createdAt: run.createdAt.toISOString(),
    ...(run.endAt === null ? {} : { endAt: run.endAt.toISOString() }),
    ...(run.endedAt === null ? {} : { endedAt: run.endedAt.toISOString() }),
  };
}
