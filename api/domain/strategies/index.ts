import { fedAvg } from './fedavg.ts';
import type { FoldStrategy } from './strategy.ts';

const strategies: readonly FoldStrategy[] = [fedAvg as unknown as FoldStrategy];

/** The strategy of that name, if there is one. */
export function findStrategy(name: string): FoldStrategy | undefined {
  return strategies.find((strategy) => strategy.name === name);
}

/** What a run was begun with: its strategy, the parameters that this understands, and what every update has to carry. */
export interface ChosenStrategy {
  strategy: FoldStrategy;
  parameters: unknown;
  scalars: readonly string[];
}

/** The strategy of a run's settings, which were parsed when it began. */
export function chosenStrategy(settings: {
  name: string;
  parameters: Readonly<Record<string, unknown>>;
}): ChosenStrategy {
  const strategy = findStrategy(settings.name);
  if (!strategy) throw new Error(`a run has a strategy that is not there: ${settings.name}`);
  const parsed = strategy.parse(settings.parameters);
  if (!parsed.ok) throw new Error(`a run has parameters that its strategy refuses: ${parsed.reason}`);
  const { parameters } = parsed;
  return { strategy, parameters, scalars: strategy.wire({ tensors: [] }, parameters).scalars };
}

export const strategyNames: readonly string[] = strategies.map(({ name }) => name);
