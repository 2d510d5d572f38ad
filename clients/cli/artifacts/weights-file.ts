import { open } from 'node:fs/promises';
import { parseTensorHeader, readHeaderLength, TENSOR_LENGTH_BYTES } from '../../../api/domain/tensors.ts';
import { Failure } from '../failure.ts';

/** Throws a failure unless the file is a whole safetensors file of 32-bit floats, before anything is sent anywhere. */
export async function checkWeightsFile(file: string): Promise<void> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`${file} cannot be read (${error.code})`, 'Check --file.');
  });
  try {
    const start = new Uint8Array(TENSOR_LENGTH_BYTES);
    const { bytesRead } = await handle.read(start, 0, TENSOR_LENGTH_BYTES, 0);
    const length = readHeaderLength(start.subarray(0, bytesRead));
    if (!length.ok) throw notWeights(file, length.reason);
    const head = new Uint8Array(TENSOR_LENGTH_BYTES + length.jsonBytes);
    const read = await handle.read(head, 0, head.length, 0);
    const parsed = parseTensorHeader(head.subarray(0, read.bytesRead));
    if (!parsed.ok) throw notWeights(file, parsed.reason);
    const { headerBytes, dataBytes, entries } = parsed.header;
    const { size } = await handle.stat();
    if (size !== headerBytes + dataBytes) throw notWeights(file, 'its length is not what its header says');
    const other = entries.find(({ dtype }) => dtype !== 'F32');
    if (other) throw notWeights(file, `${other.name} is ${other.dtype}; versions are F32`);
  } finally {
    await handle.close();
  }
}

function notWeights(file: string, reason: string): Failure {
  return new Failure(
    `${file} is no file of weights: ${reason}`,
    'It has to be a safetensors file of F32 tensors.',
  );
}
