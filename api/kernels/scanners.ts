import { dtypeBytes } from '../domain/tensors.ts';
import { type KernelModule, LAYOUT, STAGING_BYTES, scaleOf, type ValueDtype } from './module.ts';

/** Elements whose squares are summed together; counted from each tensor's first element. */
const BLOCK_ELEMENTS = 4096;
const LANES = 8;

/**
 * One pass over tensors that arrive in chunks: are all values finite, and what is their L2 norm?
 *
 * Squares are summed in f64 in eight lanes (element i of a block in lane i mod 8), the lanes per block of
 * 4,096 elements and the blocks in order, so the result's bits depend on the tensors alone: chunks may end
 * anywhere, even inside an element. Needs the memory of one block, whatever the tensor's size.
 */
export interface Scanner {
  /** Begins a tensor. `scale` is required for I8 and means value = scale * element. */
  begin(dtype: ValueDtype, scale?: number): void;
  /** The tensor's next bytes, of any length and alignment; they are read before the call returns. */
  push(bytes: Uint8Array): void;
  /** Ends the tensor. Throws RangeError if its bytes end inside an element. */
  end(): void;
  /**
   * Over all ended tensors, in their order. The norm of values that are not all finite is NaN or infinite.
   */
  result(): { finite: boolean; norm: number };
}

interface Tensor {
  dtype: ValueDtype;
  scale: number;
  elementBytes: number;
  blockBytes: number;
}

export function createScanner(module: KernelModule): Scanner {
  const pending = new Uint8Array(BLOCK_ELEMENTS * dtypeBytes('F32'));
  let pendingBytes = 0;
  let tensor: Tensor | undefined;
  let squares = 0;

  function scan({ dtype, scale, elementBytes }: Tensor, bytes: number): void {
    squares = module.scan[dtype](LAYOUT.input, bytes / elementBytes, squares, scale);
  }

  /**
   * Stages the pending bytes and as much of `bytes` as makes whole blocks; returns how many of `bytes` it
   * took.
   */
  function pushBlocks(current: Tensor, bytes: Uint8Array): number {
    const available = Math.min(pendingBytes + bytes.length, STAGING_BYTES);
    const staged = available - (available % current.blockBytes);
    if (staged === 0) return 0;
    const taken = staged - pendingBytes;
    module.write(LAYOUT.input, pending.subarray(0, pendingBytes));
    module.write(LAYOUT.input + pendingBytes, bytes.subarray(0, taken));
    pendingBytes = 0;
    scan(current, staged);
    return taken;
  }

  return {
    begin(dtype, scale) {
      if (tensor) throw new Error('the tensor before has not ended');
      const elementBytes = dtypeBytes(dtype);
      tensor = {
        dtype,
        scale: scaleOf(dtype, scale),
        elementBytes,
        blockBytes: BLOCK_ELEMENTS * elementBytes,
      };
    },
    push(bytes) {
      if (!tensor) throw new Error('no tensor has begun');
      let rest = bytes;
      for (let taken = -1; taken !== 0; rest = rest.subarray(taken)) taken = pushBlocks(tensor, rest);
      pending.set(rest, pendingBytes);
      pendingBytes += rest.length;
    },
    end() {
      if (!tensor) throw new Error('no tensor has begun');
      const { elementBytes } = tensor;
      if (pendingBytes % elementBytes !== 0) throw new RangeError('the tensor ends inside an element');
      const padded = Math.ceil(pendingBytes / (LANES * elementBytes)) * LANES * elementBytes;
      pending.fill(0, pendingBytes, padded);
      module.write(LAYOUT.input, pending.subarray(0, padded));
      scan(tensor, padded);
      pendingBytes = 0;
      tensor = undefined;
    },
    // An f64 sum of squares of f32 values cannot overflow, so it is finite exactly if every value is.
    result: () => ({ finite: Number.isFinite(squares), norm: Math.sqrt(squares) }),
  };
}
