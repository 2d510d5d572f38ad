import { z } from '@hono/zod-openapi';
import type { ModelRow, ModelSummaryRow } from '../../store/models/models.ts';
import { modelName, sha256 } from './versions.ts';

const MAX_TENSORS = 4096;
const MAX_RANK = 8;
const MAX_TOPOLOGY_MEMBERS = 64;

const TensorSpec = z
  .object({
    name: z.string().min(1).max(256).openapi({ example: 'dense/kernel' }),
    shape: z
      .array(z.int().min(1).max(2_147_483_647))
      .max(MAX_RANK)
      .openapi({ example: [784, 128] }),
    dtype: z.literal('F32').default('F32'),
    role: z.enum(['trainable', 'statistic', 'local']).default('trainable').openapi({
      description: 'Statistics (BatchNorm moments) are averaged only; local tensors never travel.',
    }),
    channelAxis: z
      .int()
      .min(0)
      .max(MAX_RANK - 1)
      .optional()
      .openapi({ description: 'The dimension of output channels: the first in PyTorch, the last in Keras.' }),
    axes: z
      .array(z.string().min(1).max(64))
      .max(MAX_RANK)
      .optional()
      .openapi({ description: 'Names a group per dimension; tensors that share one are sliced together.' }),
  })
  .openapi('TensorSpec');

const Architecture = z
  .object({
    format: z.literal('tfjs-layers'),
    topology: z
      .record(z.string().max(100), z.unknown())
      .refine((value) => Object.keys(value).length <= MAX_TOPOLOGY_MEMBERS, 'too many members')
      .openapi({
        maxProperties: MAX_TOPOLOGY_MEMBERS,
        description: 'The JSON of a Keras or TF.js layers model. Layers that can carry code are refused.',
        example: { class_name: 'Sequential', config: { name: 'mlp', layers: [] } },
      }),
  })
  .openapi('Architecture');

const Manifest = z
  .object({ tensors: z.array(TensorSpec).min(1).max(MAX_TENSORS), architecture: Architecture.optional() })
  .openapi('Manifest');

const description = z
  .string()
  .max(2000)
  .regex(/^[^\0]*$/)
  .openapi({ example: 'Handwritten digits' });

export const CreateModel = z
  .object({ name: modelName, description: description.default(''), manifest: Manifest })
  .openapi('CreateModel');

const EvaluationSetSummary = z.object({
  digest: sha256,
  examples: z.int().min(1).openapi({ example: 10_000 }),
});
export const EvaluationSet = EvaluationSetSummary.openapi('EvaluationSet');

const summary = {
  id: z.uuid(),
  name: modelName,
  description,
  parameters: z.int().min(1).openapi({ example: 101_770, description: 'Values that travel.' }),
  head: z.int().min(1).nullable().openapi({ description: 'The current version; null before the first.' }),
  evaluationSet: EvaluationSet.nullable(),
  createdAt: z.iso.datetime(),
};

export const ModelSummary = z.object(summary).openapi('ModelSummary');
export const Model = z.object({ ...summary, manifest: Manifest }).openapi('Model');

export function toModelSummary(row: ModelSummaryRow): z.infer<typeof ModelSummary> {
  const { id, name, description, parameters, head, createdAt } = row;
  const { evaluationDigest: digest, evaluationExamples: examples } = row;
  const evaluationSet = digest !== null && examples !== null ? { digest, examples } : null;
  return { id, name, description, parameters, head, evaluationSet, createdAt: createdAt.toISOString() };
}

export function toModel(row: ModelRow): z.infer<typeof Model> {
  const { tensors, architecture } = row.manifest;
  // Architectures are stored after their check as objects; the schema only says so again.
  const topology = architecture?.topology as Record<string, unknown>;
  return {
    ...toModelSummary(row),
    manifest: architecture
      ? { tensors, architecture: { format: architecture.format, topology } }
      : { tensors },
  };
}
