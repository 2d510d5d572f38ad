import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, manifestOf } from '../../api/ml/model.ts';
import type { Architecture, Manifest } from './generated/types.gen.ts';
import type { NamedTensors } from './trainer.ts';

/**
 * What an operator needs to create a model that TensorFlow.js builds from its architecture: the manifest, and first
 * weights that are drawn by the seed, the same everywhere.
 */
export async function createTfjsModel(
  architecture: Architecture,
  { seed, backend = 'wasm' }: { seed: number; backend?: Parameters<typeof loadBackend>[0] },
): Promise<{ manifest: Manifest; weights: NamedTensors }> {
  const model = await buildModel(await loadBackend(backend), architecture, { seed });
  try {
    const tensors = manifestOf(model).tensors as Manifest['tensors'];
    return { manifest: { tensors, architecture }, weights: await getWeights(model) };
  } finally {
    disposeModel(model);
  }
}
