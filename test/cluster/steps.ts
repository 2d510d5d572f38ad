import type { Scene } from './scene.ts';
import type { Step } from './step-runner.ts';
import { coldStart } from './steps/cold-start.ts';
import { nodeDrain } from './steps/drain.ts';
import { serverSideDryRun } from './steps/dry-run.ts';
import { buildAndLoad } from './steps/image.ts';
import { agentKilled, apiKilled, workerKilled } from './steps/kills.ts';
import { rollingUpdate } from './steps/rolling-update.ts';
import { badVersion, goodVersion, revert } from './steps/rollout.ts';
import { surroundings } from './steps/surroundings.ts';
import { serverHealthy, syncFromGit } from './steps/sync.ts';
import { agentsTrain } from './steps/training.ts';

/** The whole test, in its order. */
export const steps: readonly Step<Scene>[] = [
  buildAndLoad,
  surroundings,
  syncFromGit,
  serverHealthy,
  agentsTrain,
  goodVersion,
  badVersion,
  revert,
  rollingUpdate,
  apiKilled,
  workerKilled,
  agentKilled,
  nodeDrain,
  serverSideDryRun,
  coldStart,
];
