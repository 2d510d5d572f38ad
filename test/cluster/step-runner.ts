/** One thing that has to hold. What it returns is shown beside its time. */
export interface Step<Scene> {
  name: string;
  /** Nothing after it can be tried when it fails. */
  essential?: true;
  /** It can be tried whatever became of the others, once there is a cluster. */
  independent?: true;
  run(scene: Scene): Promise<string>;
}

export interface StepResult {
  step: string;
  outcome: 'passed' | 'failed' | 'not run';
  seconds: number;
  detail: string;
}

export interface StepsOptions<Scene> {
  steps: readonly Step<Scene>[];
  scene: Scene;
  signal: AbortSignal;
  report: (result: StepResult) => void;
  /** Told of each failure while everything still stands. */
  diagnose: () => Promise<void>;
}

/** Takes the steps one after the other. A step that fails does not keep the others from being tried, unless they need it. */
export async function runSteps<Scene>(options: StepsOptions<Scene>): Promise<StepResult[]> {
  const { steps, scene, signal, report, diagnose } = options;
  const results: StepResult[] = [];
  let blockedBy: string | undefined;
  for (const step of steps) {
    const result = signal.aborted
      ? notRun(step.name, 'stopped')
      : blockedBy && !step.independent
        ? notRun(step.name, `needs: ${blockedBy}`)
        : await take(step, scene);
    results.push(result);
    report(result);
    if (result.outcome !== 'failed') continue;
    if (step.essential) blockedBy = step.name;
    if (!signal.aborted) await diagnose();
  }
  return results;
}

function notRun(step: string, detail: string): StepResult {
  return { step, outcome: 'not run', seconds: 0, detail };
}

async function take<Scene>({ name, run }: Step<Scene>, scene: Scene): Promise<StepResult> {
  const began = performance.now();
  const took = () => Math.round((performance.now() - began) / 100) / 10;
  try {
    const detail = await run(scene);
    return { step: name, outcome: 'passed', seconds: took(), detail };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { step: name, outcome: 'failed', seconds: took(), detail };
  }
}
