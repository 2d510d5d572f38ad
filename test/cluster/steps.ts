import type { Scene } from './scene.ts';
import type { Step } from './step-runner.ts';
import { smoke } from './steps/smoke.ts';

/** The whole test, in its order. */
export const steps: readonly Step<Scene>[] = [smoke];
