const PAGE_BYTES = 65_536;
const ALIGNMENT = 64;

interface Region {
  start: number;
  bytes: number;
}

/** An allocator of zeroed regions of a linear memory, above a reserved part. */
export interface Regions {
  /** The address of a fresh region of zeros. Grows the memory; throws RangeError where it cannot grow. */
  allocate(bytes: number): number;
  free(address: number): void;
}

/**
 * First fit over an address-ordered free list with coalescing: a worker holds a few large vectors, so the
 * list stays short. WebAssembly memory never shrinks: a freed region is not given back to the system but to
 * the next allocation.
 */
export function createRegions(memory: WebAssembly.Memory, reservedBytes: number): Regions {
  const used = new Map<number, number>();
  let free: Region[] = [];
  let top = roundUp(reservedBytes);
  /** Memory from here on has never been handed out, so it is still zero. */
  let pristine = top;

  function extend(bytes: number): number {
    growTo(memory, top + bytes);
    const start = top;
    top += bytes;
    return start;
  }

  return {
    allocate(size) {
      const bytes = Math.max(roundUp(size), ALIGNMENT);
      const start = takeFirst(free, bytes) ?? extend(bytes);
      const dirty = Math.min(start + bytes, pristine) - start;
      if (dirty > 0) new Uint8Array(memory.buffer, start, dirty).fill(0);
      pristine = Math.max(pristine, start + bytes);
      used.set(start, bytes);
      return start;
    },
    free(address) {
      const bytes = used.get(address);
      if (bytes === undefined) throw new RangeError(`no region begins at ${address}`);
      used.delete(address);
      free = coalesce([...free, { start: address, bytes }]);
      const last = free.at(-1);
      if (last && last.start + last.bytes === top) {
        top = last.start;
        free.pop();
      }
    },
  };
}

/** Cuts `bytes` from the first free region that holds them; its address, or undefined. */
function takeFirst(free: Region[], bytes: number): number | undefined {
  const index = free.findIndex((candidate) => candidate.bytes >= bytes);
  const region = free[index];
  if (!region) return undefined;
  const { start } = region;
  region.start += bytes;
  region.bytes -= bytes;
  if (region.bytes === 0) free.splice(index, 1);
  return start;
}

function coalesce(regions: Region[]): Region[] {
  const merged: Region[] = [];
  for (const region of regions.sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && last.start + last.bytes === region.start) last.bytes += region.bytes;
    else merged.push(region);
  }
  return merged;
}

function growTo(memory: WebAssembly.Memory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing <= 0) return;
  try {
    memory.grow(Math.ceil(missing / PAGE_BYTES));
  } catch (cause) {
    throw new RangeError(`the kernels' memory cannot grow to ${bytes} bytes`, { cause });
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
