import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  elementCount,
  parseTensorHeader,
  readHeaderLength,
  TENSOR_LENGTH_BYTES,
  type TensorEntry,
} from '../../../api/domain/tensors.ts';
import type { Examples } from '../tfjs-trainer.ts';
import type { Shard } from './agent-environment.ts';

const SUFFIX = '.safetensors';

/**
 * A folder with the device's labelled examples, `MODEL.safetensors` for each model that it has data for: tensor `x` with a
 * row an example, tensor `y` with its class index or value. The files may come, change and go while the agent runs.
 */
export interface ExampleFolder {
  /** The models that there is data for. */
  models(): Promise<string[]>;
  /** How many examples there are of all models. */
  count(): Promise<number>;
  /** Undefined if there is no data for the model. Throws if its file is not readable. */
  load(model: string): Promise<Examples | undefined>;
}

export function openExampleFolder(folder: string, shard: Shard): ExampleFolder {
  let held: { key: string; examples: Examples } | undefined;
  const pathOf = (model: string) => join(folder, model + SUFFIX);
  const models = async () => {
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .sort();
  };
  return {
    models,
    async count() {
      const rows = (await models()).map(async (model) => sizeOf(await countRows(pathOf(model)), shard));
      return (await Promise.all(rows)).reduce((sum, count) => sum + count, 0);
    },
    async load(model) {
      if (!(await models()).includes(model)) return undefined;
      const { mtimeMs, size } = await stat(pathOf(model));
      const key = `${model} ${mtimeMs} ${size}`;
      if (held?.key !== key)
        held = { key, examples: takeShard(readExamples(await readFile(pathOf(model))), shard) };
      return held.examples;
    },
  };
}

/** From the header alone: the files are as large as they are. */
async function countRows(path: string): Promise<number> {
  const file = await open(path);
  try {
    const start = new Uint8Array(TENSOR_LENGTH_BYTES);
    await file.read(start, 0, start.length, 0);
    const length = readHeaderLength(start);
    if (!length.ok) return 0;
    const head = new Uint8Array(TENSOR_LENGTH_BYTES + length.jsonBytes);
    await file.read(head, 0, head.length, 0);
    const parsed = parseTensorHeader(head);
    return parsed.ok ? (parsed.header.entries.find(({ name }) => name === 'y')?.shape[0] ?? 0) : 0;
  } finally {
    await file.close();
  }
}

function readExamples(file: Buffer): Examples {
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(`the examples are not readable: ${parsed.reason}`);
  const { entries, headerBytes } = parsed.header;
  const read = (wanted: string) => {
    const entry = entries.find(({ name }) => name === wanted);
    if (!entry) throw new Error(`the examples have no tensor ${wanted}`);
    return { entry, values: valuesOf(file, headerBytes, entry) };
  };
  const [x, y] = [read('x'), read('y')];
  const dtype = x.entry.dtype as 'F32' | 'I32' | 'U8';
  return { x: { shape: x.entry.shape, dtype, values: x.values }, y: y.values };
}

function valuesOf(file: Buffer, headerBytes: number, { name, dtype, shape, start, end }: TensorEntry) {
  const from = file.byteOffset + headerBytes + start;
  const bytes = file.buffer.slice(from, from + end - start);
  if (dtype === 'U8') return new Uint8Array(bytes);
  const length = elementCount(shape);
  if (dtype === 'F32') return new Float32Array(bytes, 0, length);
  if (dtype === 'I32') return new Int32Array(bytes, 0, length);
  throw new Error(`tensor ${name} of the examples has dtype ${dtype}: U8, I32 or F32 is wanted`);
}

function sizeOf(rows: number, { index, count }: Shard): number {
  return Math.max(0, Math.ceil((rows - index) / count));
}

function takeShard({ x, y }: Examples, shard: Shard): Examples {
  if (shard.count === 1) return { x, y };
  const [rows = 0, ...rest] = x.shape;
  const taken = sizeOf(rows, shard);
  return {
    x: { ...x, shape: [taken, ...rest], values: everyRow(x.values, elementCount(rest), taken, shard) },
    y: everyRow(y, 1, taken, shard),
  };
}

function everyRow<T extends Float32Array | Int32Array | Uint8Array>(
  values: T,
  width: number,
  taken: number,
  { index, count }: Shard,
): T {
  const kept = new (values.constructor as new (length: number) => T)(taken * width);
  for (let row = 0; row < taken; row++) {
    const from = (row * count + index) * width;
    kept.set(values.subarray(from, from + width), row * width);
  }
  return kept;
}
