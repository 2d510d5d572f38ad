import type { Architecture } from '../../domain/manifest.ts';
import type { EvaluationSet, LossName, MlBackendName, NamedTensor, ScoreResult } from '../../domain/ml.ts';

/** What the scoring thread is started with. */
export interface ThreadOptions {
  backend: MlBackendName | undefined;
}

/**
 * One model to score. Without an evaluation set the thread uses the one that it holds under `evaluationKey`.
 */
export interface ScoreMessage {
  architecture: Architecture;
  tensors: Map<string, NamedTensor>;
  evaluationKey: string;
  evaluationSet: EvaluationSet | undefined;
  loss: LossName | undefined;
}

export type ScoreReply = { result: ScoreResult } | { error: string };
