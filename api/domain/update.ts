import { type Manifest, placeTensors } from './manifest.ts';
import { type Metrics, readMetrics } from './metrics.ts';
import { MAX_HEADER_BYTES, type TensorEntry, type TensorHeader } from './tensors.ts';

/** How the values of an update travel. */
export const encodings = ['f32', 'bf16'] as const;
export type Encoding = (typeof encodings)[number];

const DTYPES = { f32: 'F32', bf16: 'BF16' } as const;
const MAX_EXAMPLES = 1e12;
const MAX_METRICS_LENGTH = 8192;

/** Bytes [fileStart, fileEnd) of an update's file hold the elements of the flattened model from `flatStart` on. */
export interface UpdateSegment {
  fileStart: number;
  fileEnd: number;
  flatStart: number;
  dtype: 'F32' | 'BF16';
}

/** What an update's header says, held against what the server asked for. */
export interface UpdatePlan {
  encoding: Encoding;
  segments: UpdateSegment[];
  numExamples: number;
  metrics: Metrics;
  scalars: Record<string, number>;
}

export type UpdatePlanResult = { ok: true; plan: UpdatePlan } | { ok: false; reason: string };

/** The longest file that an update of this model may be, in bytes. */
export function maxUpdateBytes(parameters: number): number {
  return parameters * 4 + MAX_HEADER_BYTES + 8;
}

/**
 * Reads an update's header. Names, shapes and dtypes come from the manifest, required scalars from the strategy; the
 * client chooses nothing but the encoding and the order of its tensors.
 */
export function planUpdate(
  header: TensorHeader,
  manifest: Manifest,
  requiredScalars: readonly string[],
): UpdatePlanResult {
  const { metadata } = header;
  const encoding = metadata.encoding ?? 'f32';
  if (!isEncoding(encoding)) return refuse(`encoding is one of ${encodings.join(', ')}`);
  const numExamples = Number(metadata.num_examples);
  if (!Number.isSafeInteger(numExamples) || numExamples < 1 || numExamples > MAX_EXAMPLES) {
    return refuse('__metadata__.num_examples is a whole number from 1');
  }
  const metrics = parseMetrics(metadata.metrics);
  if (!metrics) return refuse('__metadata__.metrics is a small JSON object of finite numbers');
  const scalars: Record<string, number> = {};
  for (const name of requiredScalars) {
    const value = Number(metadata[name] || Number.NaN);
    if (!Number.isFinite(value)) return refuse(`__metadata__.${name} is a finite number`);
    scalars[name] = value;
  }
  const segments = placeSegments(header, manifest, encoding);
  if (typeof segments === 'string') return refuse(segments);
  return { ok: true, plan: { encoding, segments, numExamples, metrics, scalars } };
}

function placeSegments(
  { entries, headerBytes }: TensorHeader,
  manifest: Manifest,
  encoding: Encoding,
): UpdateSegment[] | string {
  const dtype = DTYPES[encoding];
  const placed = new Map(placeTensors(manifest).tensors.map((tensor) => [tensor.name, tensor]));
  const segments: UpdateSegment[] = [];
  for (const entry of entries) {
    const tensor = placed.get(entry.name);
    if (!tensor) return `tensor ${entry.name} was not asked for`;
    const fault = shapeFault(entry, tensor.shape, dtype);
    if (fault) return fault;
    placed.delete(entry.name);
    segments.push({
      fileStart: headerBytes + entry.start,
      fileEnd: headerBytes + entry.end,
      flatStart: tensor.offset,
      dtype,
    });
  }
  const [missing] = placed.keys();
  return missing === undefined ? segments : `tensor ${missing} is missing`;
}

function shapeFault(
  { name, dtype, shape }: TensorEntry,
  wanted: number[],
  wantedDtype: string,
): string | undefined {
  if (dtype !== wantedDtype) return `tensor ${name} has dtype ${dtype}, not ${wantedDtype}`;
  if (shape.join() !== wanted.join()) return `tensor ${name} has shape [${shape}], not [${wanted}]`;
  return undefined;
}

function parseMetrics(text: string | undefined): Metrics | undefined {
  if (text === undefined) return {};
  if (text.length > MAX_METRICS_LENGTH) return undefined;
  try {
    return readMetrics(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isEncoding(value: string): value is Encoding {
  return (encodings as readonly string[]).includes(value);
}

function refuse(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
