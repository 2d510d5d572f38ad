import { readFileSync } from 'node:fs';
import type { EncodedValues } from '../domain/strategies/vector.ts';

export type ValueDtype = EncodedValues['dtype'];

/**
 * Bytes of the staging area for encoded values, the unit of copying: it stays in a core's second-level cache.
 */
export const STAGING_BYTES = 131_072;

/**
 * Bytes of the window that files are read straight into: large enough that calls cost little, small enough for a core's
 * second-level cache.
 */
export const WINDOW_BYTES = 524_288;

/**
 * The memory's layout: files are read into the `window`, values from elsewhere are copied to `input`, results leave at
 * `output`, vectors lie from `vectors` on.
 */
export const LAYOUT = {
  window: 0,
  input: WINDOW_BYTES,
  output: WINDOW_BYTES + STAGING_BYTES,
  vectors: WINDOW_BYTES + 2 * STAGING_BYTES,
} as const;

type Add = (target: number, source: number, count: number, weight: number, scale: number) => void;
type Scan = (source: number, count: number, total: number, scale: number) => number;
type Decode = (source: number, out: number, count: number, scale: number) => void;

/** What assembly/index.ts exports. Kernels that take no scale ignore the argument. */
interface Exports {
  memory: WebAssembly.Memory;
  addF32: Add;
  addBf16: Add;
  addI8: Add;
  scaleF64(target: number, count: number, factor: number): void;
  applyF32(source: number, base: number, out: number, count: number, factor: number): number;
  scanF32: Scan;
  scanBf16: Scan;
  scanI8: Scan;
  decodeBf16: Decode;
  decodeI8: Decode;
}

/** One instance of the compiled kernels with its memory. */
export interface KernelModule {
  memory: WebAssembly.Memory;
  add: Readonly<Record<ValueDtype, Add>>;
  scan: Readonly<Record<ValueDtype, Scan>>;
  decode: Readonly<Record<Exclude<ValueDtype, 'F32'>, Decode>>;
  scale: Exports['scaleF64'];
  apply: Exports['applyF32'];
  /** Copies bytes to an address; the memory may have grown since the last call. */
  write(address: number, bytes: Uint8Array): void;
  /** A view that is valid until the memory grows. */
  view(address: number, bytes: number): Uint8Array;
}

export function instantiate(): KernelModule {
  const compiled = new WebAssembly.Module(readFileSync(new URL('./kernels.wasm', import.meta.url)));
  const exports = new WebAssembly.Instance(compiled).exports as unknown as Exports;
  const { memory } = exports;
  let all = new Uint8Array(memory.buffer);
  const current = () => {
    if (all.buffer !== memory.buffer) all = new Uint8Array(memory.buffer);
    return all;
  };
  return {
    memory,
    add: { F32: exports.addF32, BF16: exports.addBf16, I8: exports.addI8 },
    scan: { F32: exports.scanF32, BF16: exports.scanBf16, I8: exports.scanI8 },
    decode: { BF16: exports.decodeBf16, I8: exports.decodeI8 },
    scale: exports.scaleF64,
    apply: exports.applyF32,
    write: (address, bytes) => current().set(bytes, address),
    view: (address, bytes) => current().subarray(address, address + bytes),
  };
}

/** The scale of I8 values; throws RangeError where there is none. */
export function scaleOf(dtype: ValueDtype, scale: number | undefined): number {
  if (dtype === 'I8' && scale === undefined) throw new RangeError('I8 values need a scale');
  return scale ?? 1;
}
