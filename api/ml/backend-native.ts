import { existsSync } from 'node:fs';
import { createRequire, Module } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';

export const TFJS_NODE_VERSION = '4.22.0';
export const NAPI_VERSION = 8;

/** Where `npm run native` puts the addon: outside node_modules, which every clean install empties. */
export function nativeFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const cache = environment.XDG_CACHE_HOME || join(homedir(), '.cache');
  const name = `tfjs-node-${TFJS_NODE_VERSION}-napi${NAPI_VERSION}`;
  return environment.FEDEDGE_NATIVE_DIR || join(cache, 'fededge', name);
}

/** The addon inside its folder; it is written last, so where it exists the build is complete. */
export function addonFile(folder: string): string {
  return join(folder, 'package', 'lib', `napi-v${NAPI_VERSION}`, 'tfjs_binding.node');
}

interface NodeBackendModule {
  NodeJSKernelBackend: new (binding: unknown, packageName: string) => tf.KernelBackend;
}

/** Registers tfjs-node's backend with the engine that is loaded already. */
export async function loadNative(): Promise<void> {
  const folder = nativeFolder();
  const addon = addonFile(folder);
  if (!existsSync(addon)) throw new Error(`the native backend is not built (npm run native): no ${addon}`);
  restoreRemovedUtil();
  quietTensorFlow();
  const require = createRequire(join(folder, 'package', 'dist', 'index.js'));
  lendCore(require);
  const { NodeJSKernelBackend } = require('./nodejs_kernel_backend.js') as NodeBackendModule;
  const binding: unknown = require(addon);
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node'));
  require('./register_all_kernels.js');
}

/**
 * tfjs-node's kernels ask for the umbrella package, of which they need the core alone. They are given the
 * core that is in use here, so the addon's folder needs no copy of it and one engine serves every backend.
 */
function lendCore(require: NodeJS.Require): void {
  for (const name of ['@tensorflow/tfjs', '@tensorflow/tfjs-core']) {
    const path = require.resolve(name);
    const lent = new Module(path);
    require.cache[path] = Object.assign(lent, { exports: tf, filename: path, loaded: true });
  }
}

/**
 * tfjs-node calls `util.isNullOrUndefined`, which Node 23 removed, and `util.isArray`, whose use Node warns
 * of.
 */
function restoreRemovedUtil(): void {
  const legacy = util as unknown as Record<string, (value: unknown) => boolean>;
  legacy.isNullOrUndefined ??= (value) => value === undefined || value === null;
  legacy.isArray = Array.isArray;
}

/** TensorFlow reports its CPU features on standard error unless told otherwise. */
function quietTensorFlow(): void {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
}
