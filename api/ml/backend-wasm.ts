import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Registers the WebAssembly backend with our kernels. Its file is read from the installed package (SIMD where
 * the machine has it, one thread: the package uses no threads under Node).
 */
export async function loadWasm(): Promise<void> {
  const { setWasmPaths } = await import('./wasm-package.ts');
  const { registerWasmKernels } = await import('./kernels/register.ts');
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(dirname(main) + sep);
  registerWasmKernels();
  await withoutNewListeners(() => tf.setBackend('wasm'));
}

/**
 * The module's glue code listens for uncaught exceptions and unhandled rejections and throws them again,
 * which would turn off a server's own handling. What it added is taken away.
 */
async function withoutNewListeners(start: () => Promise<unknown>): Promise<void> {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = events.map((event) => new Set<unknown>(process.listeners(event as 'uncaughtException')));
  await start();
  events.forEach((event, index) => {
    for (const listener of process.listeners(event as 'uncaughtException')) {
      if (!before[index]?.has(listener)) process.off(event, listener);
    }
  });
}
