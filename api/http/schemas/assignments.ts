import { z } from '@hono/zod-openapi';
import { MAX_METRICS } from '../../domain/metrics.ts';
import { line } from './text.ts';

const id = z.uuid().openapi({ example: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' });
const instant = z.iso.datetime().openapi({ example: '2026-01-15T10:30:00.000Z' });
const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .openapi({
    description: 'SHA-256, hex.',
    example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  });

export const metrics = z
  .record(line(64).min(1), z.number())
  .refine((value) => Object.keys(value).length <= MAX_METRICS, `at most ${MAX_METRICS} metrics`)
  .openapi('Metrics', { example: { loss: 0.31, accuracy: 0.91 }, maxProperties: MAX_METRICS });

export const assignment = z
  .object({
    id,
    kind: z.enum(['train', 'evaluate']),
    run: id,
    round: id,
    roundNumber: z.int().min(1).openapi({ example: 3 }),
    model: z.string().openapi({ example: 'digits' }),
    modelUrl: z.string().openapi({
      description: 'The model with its manifest and architecture.',
      example: '/v1/models/digits',
    }),
    baseVersion: z.int().min(1).openapi({ example: 3 }),
    downloads: z
      .array(
        z.object({
          role: z.enum(['weights']),
          url: z.string().openapi({ example: '/v1/models/digits/versions/3/weights?variant=f32' }),
          digest,
          bytes: z.int().openapi({ example: 407_936 }),
        }),
      )
      .max(8),
    hyperparameters: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
      .openapi({ example: { epochs: 1, batchSize: 32, learningRate: 0.1 } }),
    seed: z
      .int()
      .openapi({ description: 'Differs between rounds and devices: for the order of examples.', example: 7 }),
    deadlineAt: instant.openapi({ description: 'From then on the update is late.' }),
    traceparent: z.string().max(64).optional().openapi({
      description:
        'W3C Trace Context of the round, where the server traces: send it as a header of the requests for this assignment.',
      example: '00-0198c5a26d7e7c3b9f002b7d5a1c9e44-9f002b7d5a1c9e44-01',
    }),
    update: z
      .object({
        url: z.string().openapi({ example: '/v1/assignments/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44/update' }),
        maxBytes: z.int().openapi({ example: 1_456_520 }),
        encodings: z
          .array(z.string())
          .max(8)
          .openapi({ example: ['f32', 'bf16'] }),
        scalars: z
          .array(z.string())
          .max(8)
          .openapi({ description: 'Numbers that __metadata__ of the update must carry.', example: [] }),
      })
      .optional()
      .openapi({ description: 'Where the update goes (kind `train`).' }),
    evaluation: z
      .object({
        url: z
          .string()
          .openapi({ example: '/v1/assignments/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44/evaluation' }),
      })
      .optional()
      .openapi({ description: 'Where the results go (kind `evaluate`).' }),
  })
  .openapi('Assignment');

export const receipt = z
  .object({
    status: z.enum(['accepted', 'duplicate']),
    assignment: id,
    round: id,
    sequence: z.int().min(1).openapi({ description: 'The place in the order of folding.', example: 4 }),
    digest,
    receivedAt: instant,
  })
  .openapi('UpdateReceipt');

export const evaluationReport = z
  .object({ numExamples: z.int().min(1).max(1e12).openapi({ example: 600 }), metrics })
  .openapi('EvaluationReport');

export const evaluationReceipt = z
  .object({ assignment: id, round: id, receivedAt: instant })
  .openapi('EvaluationReceipt');

export const assignmentParams = z.object({
  assignment: z
    .uuid()
    .openapi({ param: { name: 'assignment', in: 'path' }, example: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }),
});
