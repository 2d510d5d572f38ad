import * as tf from '@tensorflow/tfjs-core';
import type { MlBackend, MlBackendName } from '../domain/ml.ts';
import { loadNative } from './backend-native.ts';
import { loadWasm } from './backend-wasm.ts';
import { chainOps } from './chained-ops.ts';

/** The name under which the engine knows each of our backends. */
const ENGINE_NAMES = { native: 'tensorflow', wasm: 'wasm', cpu: 'cpu' } as const;
const FASTEST_FIRST: readonly MlBackendName[] = ['native', 'wasm', 'cpu'];

const loaders: Record<MlBackendName, () => Promise<void>> = {
  native: loadNative,
  wasm: loadWasm,
  cpu: async () => void (await import('@tensorflow/tfjs-backend-cpu')),
};
const loaded = new Map<MlBackendName, Promise<MlBackend>>();

/**
 * Loads what computes: the preferred backend and no other, or the fastest one that loads here. Reads local
 * files only, prints nothing. A process may load several; the engine computes with the one activated last.
 *
 * @throws when the preferred backend cannot be loaded; its message says why (for native: that it was not
 * built).
 */
export async function loadBackend(preference?: MlBackendName): Promise<MlBackend> {
  if (preference) return load(preference);
  let failure: unknown;
  for (const name of FASTEST_FIRST) {
    try {
      return await load(name);
    } catch (error) {
      failure ??= error;
    }
  }
  throw new Error('no machine-learning backend loads here', { cause: failure });
}

function load(name: MlBackendName): Promise<MlBackend> {
  let backend = loaded.get(name);
  if (!backend) {
    backend = start(name);
    loaded.set(name, backend);
    backend.catch(() => loaded.delete(name));
  }
  return backend.then((ready) => {
    ready.activate();
    return ready;
  });
}

async function start(name: MlBackendName): Promise<MlBackend> {
  // Production mode drops the engine's banner and its warnings; it checks no less.
  tf.enableProdMode();
  chainOps();
  await loaders[name]();
  const engineName = ENGINE_NAMES[name];
  if (!(await tf.setBackend(engineName))) throw new Error(`the ${name} backend did not start`);
  const activate = (): void => {
    if (tf.getBackend() !== engineName) void tf.setBackend(engineName);
  };
  return { name, activate };
}
