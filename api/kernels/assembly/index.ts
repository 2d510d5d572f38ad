/**
 * FedEdge's vector kernels, in AssemblyScript (built by scripts/kernels.ts; 128-bit SIMD, neither relaxed
 * SIMD nor FMA).
 *
 * Pure loops over linear memory: the caller (api/kernels/kernels.ts) owns the memory's layout. Pointers are
 * byte addresses, counts are elements. Each result element is computed with the same IEEE 754 operations in
 * the vector body and in the scalar tail, so its bits do not depend on where a chunk was cut.
 */

/** Elements whose squares are summed together before they join the total. */
const BLOCK: usize = 4096;
const LOW_EXPONENT: i32 = 0x7f800000;

@inline
function highHalf(v: v128): v128 {
  return v128.shuffle<u32>(v, v, 2, 3, 2, 3);
}

@inline
function promote(pointer: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(pointer));
}

/** The first (`high` false) or last four of eight bf16 as f32: a bf16 is the upper half of an f32. */
@inline
function widenLow(v: v128): v128 {
  return v128.shuffle<u16>(i16x8.splat(0), v, 0, 8, 1, 9, 2, 10, 3, 11);
}

@inline
function widenHigh(v: v128): v128 {
  return v128.shuffle<u16>(i16x8.splat(0), v, 4, 12, 5, 13, 6, 14, 7, 15);
}

@inline
function loadBf16(pointer: usize): f32 {
  return reinterpret<f32>((<u32>load<u16>(pointer)) << 16);
}

@inline
function addTo(target: usize, product: v128): void {
  v128.store(target, f64x2.add(v128.load(target), product));
}

/** f64 target[i] += weight * f32 source[i] */
export function addF32(target: usize, source: usize, count: usize, weight: f64): void {
  const w = f64x2.splat(weight);
  const end = source + count * 4;
  const body = source + (count & ~7) * 4;
  while (source < body) {
    addTo(target, f64x2.mul(w, promote(source)));
    addTo(target + 16, f64x2.mul(w, promote(source + 8)));
    addTo(target + 32, f64x2.mul(w, promote(source + 16)));
    addTo(target + 48, f64x2.mul(w, promote(source + 24)));
    source += 32;
    target += 64;
  }
  while (source < end) {
    store<f64>(target, load<f64>(target) + weight * <f64>load<f32>(source));
    source += 4;
    target += 8;
  }
}

/** f64 target[i] += weight * bf16 source[i] */
export function addBf16(target: usize, source: usize, count: usize, weight: f64): void {
  const w = f64x2.splat(weight);
  const end = source + count * 2;
  const body = source + (count & ~7) * 2;
  while (source < body) {
    const v = v128.load(source);
    const low = widenLow(v);
    const high = widenHigh(v);
    addTo(target, f64x2.mul(w, f64x2.promote_low_f32x4(low)));
    addTo(target + 16, f64x2.mul(w, f64x2.promote_low_f32x4(highHalf(low))));
    addTo(target + 32, f64x2.mul(w, f64x2.promote_low_f32x4(high)));
    addTo(target + 48, f64x2.mul(w, f64x2.promote_low_f32x4(highHalf(high))));
    source += 16;
    target += 64;
  }
  while (source < end) {
    store<f64>(target, load<f64>(target) + weight * <f64>loadBf16(source));
    source += 2;
    target += 8;
  }
}

/** f64 target[i] += weight * (scale * i8 source[i]) */
export function addI8(target: usize, source: usize, count: usize, weight: f64, scale: f64): void {
  const w = f64x2.splat(weight);
  const s = f64x2.splat(scale);
  const end = source + count;
  const body = source + (count & ~7);
  while (source < body) {
    const v = v128.load_ext<i8>(source);
    const low = i32x4.extend_low_i16x8_s(v);
    const high = i32x4.extend_high_i16x8_s(v);
    addTo(target, f64x2.mul(w, f64x2.mul(s, f64x2.convert_low_i32x4_s(low))));
    addTo(target + 16, f64x2.mul(w, f64x2.mul(s, f64x2.convert_low_i32x4_s(highHalf(low)))));
    addTo(target + 32, f64x2.mul(w, f64x2.mul(s, f64x2.convert_low_i32x4_s(high))));
    addTo(target + 48, f64x2.mul(w, f64x2.mul(s, f64x2.convert_low_i32x4_s(highHalf(high)))));
    source += 8;
    target += 64;
  }
  while (source < end) {
    store<f64>(target, load<f64>(target) + weight * (scale * <f64>load<i8>(source)));
    source += 1;
    target += 8;
  }
}

/** f64 target[i] *= factor */
export function scaleF64(target: usize, count: usize, factor: f64): void {
  const f = f64x2.splat(factor);
  for (let rest = count >> 3; rest > 0; rest--) {
    v128.store(target, f64x2.mul(v128.load(target), f));
    v128.store(target, f64x2.mul(v128.load(target, 16), f), 16);
    v128.store(target, f64x2.mul(v128.load(target, 32), f), 32);
    v128.store(target, f64x2.mul(v128.load(target, 48), f), 48);
    target += 64;
  }
  for (let rest = count & 7; rest > 0; rest--) {
    store<f64>(target, load<f64>(target) * factor);
    target += 8;
  }
}

@inline
function applyTwo(source: usize, base: usize, factor: v128): v128 {
  return f32x4.demote_f64x2_zero(f64x2.add(promote(base), f64x2.mul(factor, v128.load(source))));
}

@inline
function magnitude(v: v128): v128 {
  return v128.and(v, i32x4.splat(0x7fffffff));
}

/** f32 out[i] = base[i] + factor * source[i], computed in f64; 1 if every result is finite, else 0. */
export function applyF32(source: usize, base: usize, out: usize, count: usize, factor: f64): i32 {
  const f = f64x2.splat(factor);
  let largest = i32x4.splat(0);
  for (let rest = count >> 2; rest > 0; rest--) {
    const low = applyTwo(source, base, f);
    const high = applyTwo(source + 16, base + 8, f);
    const four = v128.shuffle<u32>(low, high, 0, 1, 4, 5);
    v128.store(out, four);
    largest = i32x4.max_s(largest, magnitude(four));
    source += 32;
    base += 16;
    out += 16;
  }
  let tail: i32 = 0;
  for (let rest = count & 3; rest > 0; rest--) {
    const value = <f32>(<f64>load<f32>(base) + factor * load<f64>(source));
    store<f32>(out, value);
    tail = max(tail, reinterpret<i32>(value) & 0x7fffffff);
    source += 8;
    base += 4;
    out += 4;
  }
  largest = i32x4.max_s(largest, i32x4.splat(tail));
  return i32(!v128.any_true(i32x4.ge_s(largest, i32x4.splat(LOW_EXPONENT))));
}

// The scans sum squares in eight lanes: element i of a block belongs to lane i mod 8. The caller pads the
// last block with zeros to a multiple of eight, which adds +0 to sums that are never -0. Squares of f32
// values cannot overflow an f64 sum, so the sum is finite exactly if every element is.

@inline
function joinLanes(a: v128, b: v128, c: v128, d: v128): f64 {
  const sum = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

@inline
function square(v: v128): v128 {
  return f64x2.mul(v, v);
}

/** total + the sum of squares of f32 source, block after block. */
export function scanF32(source: usize, count: usize, total: f64): f64 {
  while (count > 0) {
    const size = min(count, BLOCK);
    let a = f64x2.splat(0), b = a, c = a, d = a;
    for (const end = source + size * 4; source < end; source += 32) {
      a = f64x2.add(a, square(promote(source)));
      b = f64x2.add(b, square(promote(source + 8)));
      c = f64x2.add(c, square(promote(source + 16)));
      d = f64x2.add(d, square(promote(source + 24)));
    }
    total += joinLanes(a, b, c, d);
    count -= size;
  }
  return total;
}

/** total + the sum of squares of bf16 source, block after block. */
export function scanBf16(source: usize, count: usize, total: f64): f64 {
  while (count > 0) {
    const size = min(count, BLOCK);
    let a = f64x2.splat(0), b = a, c = a, d = a;
    for (const end = source + size * 2; source < end; source += 16) {
      const v = v128.load(source);
      const low = widenLow(v);
      const high = widenHigh(v);
      a = f64x2.add(a, square(f64x2.promote_low_f32x4(low)));
      b = f64x2.add(b, square(f64x2.promote_low_f32x4(highHalf(low))));
      c = f64x2.add(c, square(f64x2.promote_low_f32x4(high)));
      d = f64x2.add(d, square(f64x2.promote_low_f32x4(highHalf(high))));
    }
    total += joinLanes(a, b, c, d);
    count -= size;
  }
  return total;
}

/** total + the sum of squares of scale * i8 source, block after block. */
export function scanI8(source: usize, count: usize, total: f64, scale: f64): f64 {
  const s = f64x2.splat(scale);
  while (count > 0) {
    const size = min(count, BLOCK);
    let a = f64x2.splat(0), b = a, c = a, d = a;
    for (const end = source + size; source < end; source += 8) {
      const v = v128.load_ext<i8>(source);
      const low = i32x4.extend_low_i16x8_s(v);
      const high = i32x4.extend_high_i16x8_s(v);
      a = f64x2.add(a, square(f64x2.mul(s, f64x2.convert_low_i32x4_s(low))));
      b = f64x2.add(b, square(f64x2.mul(s, f64x2.convert_low_i32x4_s(highHalf(low)))));
      c = f64x2.add(c, square(f64x2.mul(s, f64x2.convert_low_i32x4_s(high))));
      d = f64x2.add(d, square(f64x2.mul(s, f64x2.convert_low_i32x4_s(highHalf(high)))));
    }
    total += joinLanes(a, b, c, d);
    count -= size;
  }
  return total;
}

/** f32 out[i] = bf16 source[i] (exact) */
export function decodeBf16(source: usize, out: usize, count: usize): void {
  for (let rest = count >> 3; rest > 0; rest--) {
    const v = v128.load(source);
    v128.store(out, widenLow(v));
    v128.store(out, widenHigh(v), 16);
    source += 16;
    out += 32;
  }
  for (let rest = count & 7; rest > 0; rest--) {
    store<u32>(out, (<u32>load<u16>(source)) << 16);
    source += 2;
    out += 4;
  }
}

/** f32 out[i] = scale * i8 source[i], multiplied in f64 and rounded once */
export function decodeI8(source: usize, out: usize, count: usize, scale: f64): void {
  const s = f64x2.splat(scale);
  for (let rest = count >> 3; rest > 0; rest--) {
    const v = v128.load_ext<i8>(source);
    v128.store(out, scaleFour(i32x4.extend_low_i16x8_s(v), s));
    v128.store(out, scaleFour(i32x4.extend_high_i16x8_s(v), s), 16);
    source += 8;
    out += 32;
  }
  for (let rest = count & 7; rest > 0; rest--) {
    store<f32>(out, <f32>(scale * <f64>load<i8>(source)));
    source += 1;
    out += 4;
  }
}

@inline
function scaleFour(integers: v128, scale: v128): v128 {
  const low = f32x4.demote_f64x2_zero(f64x2.mul(scale, f64x2.convert_low_i32x4_s(integers)));
  const high = f32x4.demote_f64x2_zero(f64x2.mul(scale, f64x2.convert_low_i32x4_s(highHalf(integers))));
  return v128.shuffle<u32>(low, high, 0, 1, 4, 5);
}
