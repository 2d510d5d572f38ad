import { z } from '@hono/zod-openapi';
import { type ReleaseSource as Source, saltOf, stepsOf } from '../../domain/release.ts';
import type { CatalogFindings } from '../../services/releases/catalog/catalogs.ts';
import type { ReleaseView } from '../../services/releases/releases.ts';
import { metrics } from './assignments.ts';
import { instant } from './runs.ts';
import { modelName, sha256 } from './versions.ts';

const MAX_COHORTS = 32;
const MAX_STEPS = 32;
const MAX_LABELS = 32;

export const releaseId = z.uuid().openapi({ example: '0198c5d0-33cc-7f42-ae33-4b5c6d7e8f90' });

const versionNumber = z.int().min(1).nullable();

const ReleaseCohort = z
  .object({
    name: z.string().max(100).openapi({ example: 'canary' }),
    labels: z.record(z.string().max(63), z.array(z.string().max(128)).max(100)).openapi({
      description: 'A device belongs if it has one of the values of each label.',
      example: { site: ['lab'] },
      maxProperties: MAX_LABELS,
    }),
    percent: z
      .array(z.number().min(0).max(100))
      .max(MAX_STEPS)
      .openapi({
        description: 'The share of its devices at each step; the last one holds on.',
        example: [5, 100],
      }),
  })
  .openapi('ReleaseCohort');

const ReleaseGate = z
  .object({
    metric: z.string().max(64).openapi({ example: 'accuracy' }),
    atLeast: z.number().nullable().openapi({ example: 0.9 }),
    atMost: z.number().nullable().openapi({ example: null }),
    reportsNeeded: z.int().min(1).openapi({ description: 'Fewest devices that have to report.', example: 3 }),
    reports: z.int().min(0).openapi({ description: 'Devices that have reported.', example: 4 }),
    value: z
      .number()
      .nullable()
      .openapi({ description: 'The mean of their reports, weighted by examples.', example: 0.94 }),
    holds: z.boolean().openapi({
      description: 'Enough devices have reported, and the mean is within the bounds.',
      example: true,
    }),
  })
  .openapi('ReleaseGate', { description: 'What the devices say of the version.' });

const ReleaseSource = z
  .object({
    oci: z.string().max(500).optional(),
    s3: z.string().max(1100).optional(),
    url: z.string().max(2000).optional(),
  })
  .openapi('ReleaseSource', {
    example: { oci: `registry.example/models/mnist-cnn@sha256:${'3f0a377b'.repeat(8)}` },
  });

export const Release = z
  .object({
    id: releaseId,
    model: modelName,
    contentHash: sha256.openapi({
      description: 'SHA-256 of the canonical JSON of the release file.',
      example: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    }),
    state: z.enum(['waiting', 'rolling', 'complete', 'paused', 'halted', 'superseded']).openapi({
      description:
        '`waiting`: what it names is not there yet. `rolling`: at a step. `complete`: through. `paused`: the gate failed. ' +
        '`halted`: by an operator. `superseded`: another content is the active one.',
      example: 'rolling',
    }),
    reason: z.string().max(500).nullable().openapi({
      description: 'Why it waits, was paused or halted: a word, then maybe a colon and details.',
      example: null,
    }),
    step: z.int().min(0).openapi({ description: 'Counts from 0.', example: 0 }),
    steps: z.int().min(1).max(MAX_STEPS).openapi({ description: 'How many there are.', example: 3 }),
    stepSince: instant.nullable().openapi({ description: 'When the step was taken.' }),
    bakeSeconds: z.int().min(0).openapi({ description: 'Least time at each step.', example: 600 }),
    version: versionNumber.openapi({
      description: 'What its cohorts get; null until it is there.',
      example: 7,
    }),
    digest: sha256.nullable().openapi({ description: "SHA-256 of the version's file." }),
    channel: z
      .enum(['head'])
      .nullable()
      .openapi({ description: 'It follows the head of the model.', example: null }),
    source: ReleaseSource.nullable().openapi({
      description: 'Where the version is imported from if it is not there.',
    }),
    previous: versionNumber.openapi({ description: 'What all other devices get.', example: 6 }),
    salt: z.string().max(200).openapi({ description: 'What buckets are drawn by.', example: 'mnist-2026' }),
    cohorts: z.array(ReleaseCohort).max(MAX_COHORTS),
    gate: ReleaseGate.nullable(),
    createdAt: instant,
    activatedAt: instant.openapi({ description: 'When its content became the active one.' }),
  })
  .openapi('Release');

export const Catalog = z
  .object({
    readAt: instant.nullable().openapi({ description: 'Null: no server reads a catalog.' }),
    faults: z
      .array(
        z.object({
          file: z.string().max(300).openapi({ example: 'models/mnist-cnn.yaml' }),
          message: z.string().max(1000).openapi({ example: 'gate.atLeats: unknown key' }),
        }),
      )
      .max(1000)
      .openapi({ description: 'Files that do not hold. What they would change stays as it is.' }),
    waiting: z
      .array(
        z.object({
          file: z.string().max(300).openapi({ example: 'runs/nightly.yaml' }),
          message: z.string().max(1000).openapi({ example: 'waits for the first version of mnist-cnn' }),
        }),
      )
      .max(1000)
      .openapi({ description: 'Run files that hold; their runs begin by themselves when it is time.' }),
  })
  .openapi('Catalog');

export const ReportVersion = z
  .object({ numExamples: z.int().min(1).max(1e12).openapi({ example: 600 }), metrics })
  .openapi('ReportVersion');

export const VersionReport = z
  .object({ model: modelName, version: z.int().min(1).openapi({ example: 7 }), receivedAt: instant })
  .openapi('VersionReport');

export function toRelease(release: ReleaseView): z.infer<typeof Release> {
  const { id, model, contentHash, state, reason, step, stepSince, version, digest, previous, document } =
    release;
  return {
    id,
    model,
    contentHash,
    state,
    reason,
    step,
    steps: stepsOf(document.cohorts),
    stepSince: stepSince?.toISOString() ?? null,
    bakeSeconds: document.bakeSeconds,
    version,
    digest: digest ?? document.digest ?? null,
    channel: document.channel ?? null,
    source: toSource(document.source),
    previous,
    salt: saltOf(document, digest),
    cohorts: document.cohorts.map(({ name, labels, percent }) => ({
      name,
      labels: Object.fromEntries(Object.entries(labels).map(([label, values]) => [label, [...values]])),
      percent: [...percent],
    })),
    gate: toGate(release),
    createdAt: release.createdAt.toISOString(),
    activatedAt: release.activatedAt.toISOString(),
  };
}

function toSource(source: Source | undefined): z.infer<typeof ReleaseSource> | null {
  if (!source) return null;
  const { oci, s3, url } = source;
  return {
    ...(oci === undefined ? {} : { oci }),
    ...(s3 === undefined ? {} : { s3 }),
    ...(url === undefined ? {} : { url }),
  };
}

function toGate({ document: { gate }, verdict }: ReleaseView): z.infer<typeof ReleaseGate> | null {
  if (!gate || !verdict) return null;
  return {
    metric: gate.metric,
    atLeast: gate.atLeast ?? null,
    atMost: gate.atMost ?? null,
    reportsNeeded: gate.reports,
    reports: verdict.reports,
    value: verdict.value,
    holds: verdict.verdict === 'holds',
  };
}

export function toCatalog({ readAt, ...findings }: CatalogFindings & { readAt: Date | null }) {
  return { readAt: readAt?.toISOString() ?? null, ...findings };
}
