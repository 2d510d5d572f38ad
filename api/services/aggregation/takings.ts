import { placeTensors } from '../../domain/manifest.ts';
import type { FoldThread } from '../../kernels/folds/folds.ts';
import { type FoldableRound, takeLease } from '../../store/rounds/leases.ts';
import { findTensors } from '../../store/rounds/model-tensors.ts';
import { restoreCheckpoint } from './checkpoints.ts';
import type { Fold, FoldContext } from './holds.ts';

/** Takes a round's lease and brings the accumulator to its checkpoint. Undefined: somebody else holds the round. */
export async function holdRound(context: FoldContext, round: FoldableRound): Promise<Fold | undefined> {
  const { deps, folds, holder } = context;
  const now = deps.clock.now();
  const [fence, manifest] = await Promise.all([
    takeLease(deps.db.pool, round.id, { holder, now, leaseMs: deps.config.leaseMs }),
    findTensors(deps.db.pool, round.modelId),
  ]);
  if (fence === undefined) return undefined;
  const fold: Fold = {
    id: `${round.id}/${fence}`,
    roundId: round.id,
    fence,
    manifest,
    parameters: placeTensors(manifest).parameters,
    settings: round.settings,
    sequence: 0,
    sinceCheckpoint: { updates: 0, bytes: 0 },
    renewedAt: now.getTime(),
  };
  const begin = () => beginFold(folds, fold, round);
  try {
    await begin();
    if (await restoreCheckpoint(context, fold)) return fold;
    await folds.release(fold.id);
    await begin();
    return fold;
  } catch (error) {
    await folds.release(fold.id).catch(() => undefined);
    throw error;
  }
}

function beginFold(folds: FoldThread, { id, parameters }: Fold, { settings }: FoldableRound): Promise<void> {
  const { name: strategy, parameters: given } = settings.strategy;
  return folds.begin(id, { strategy, parameters: given, range: { start: 0, length: parameters } });
}
