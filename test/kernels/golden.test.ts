import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseTensorHeader } from '../../api/domain/tensors.ts';
import { createKernels } from '../../api/kernels/kernels.ts';

/** Made with numpy by test/fixtures/kernels/make.py. */
const file = readFileSync(new URL('../fixtures/kernels/golden.safetensors', import.meta.url));
const parsed = parseTensorHeader(file);
if (!parsed.ok) throw new Error(parsed.reason);
const { header } = parsed;
const kernels = createKernels();

function golden(name: string): Uint8Array {
  const entry = header.entries.find((candidate) => candidate.name === name);
  if (!entry) throw new Error(`no tensor ${name}`);
  return new Uint8Array(file.subarray(header.headerBytes + entry.start, header.headerBytes + entry.end));
}

function numbers(name: string): number[] {
  return [...new Float64Array(golden(name).buffer)];
}

const [weight, factor, scale] = numbers('constants') as [number, number, number];
const FOLDED = 1003;

const values = [
  { name: 'f32', dtype: 'F32', norm: 0 },
  { name: 'bf16', dtype: 'BF16', norm: 1 },
  { name: 'i8', dtype: 'I8', norm: 2 },
] as const;

function startVector() {
  const vector = kernels.zeros(FOLDED);
  kernels.load(vector, 0, golden('start'));
  return vector;
}

describe.each(values)('$dtype', ({ name, dtype, norm }) => {
  const bytes = golden(name);
  const folded = bytes.subarray(0, (bytes.length / 5003) * FOLDED);

  test('addScaled gives numpy its bits', () => {
    const vector = startVector();
    kernels.addScaled(vector, 0, { dtype, bytes: folded, scale }, weight);
    expect(kernels.save(vector, 0, FOLDED)).toEqual(golden(`added.${name}`));
  });

  test('the scanner gives numpy its norm', () => {
    const scanner = kernels.createScanner();
    scanner.begin(dtype, scale);
    scanner.push(bytes);
    scanner.end();
    expect(scanner.result()).toEqual({ finite: true, norm: numbers('norms')[norm] });
  });
});

test.each([
  ['bf16', 'BF16'],
  ['i8', 'I8'],
] as const)('decode of %s gives numpy its bits', (name, dtype) => {
  const bytes = golden(name).subarray(0, golden(`decoded.${name}`).length / (dtype === 'I8' ? 4 : 2));
  expect(new Uint8Array(kernels.decode({ dtype, bytes, scale }))).toEqual(golden(`decoded.${name}`));
});

test('scale and applyScaled give numpy its bits', () => {
  const scaled = startVector();
  kernels.scale(scaled, factor);
  expect(kernels.save(scaled, 0, FOLDED)).toEqual(golden('scaled'));
  const added = kernels.zeros(FOLDED);
  kernels.load(added, 0, golden('added.f32'));
  const { bytes, finite } = kernels.applyScaled(added, 0, golden('base'), factor);
  expect(new Uint8Array(bytes)).toEqual(golden('applied'));
  expect(finite).toBe(true);
});

test('the committed kernels.wasm is what its source builds to', () => {
  const script = fileURLToPath(new URL('../../scripts/kernels.ts', import.meta.url));
  expect(execFileSync(process.execPath, [script, '--check'], { encoding: 'utf8' })).toContain('matches');
});
