import { fedAvg } from './fedavg.ts';
import type { FoldStrategy } from './strategy.ts';

const strategies: readonly FoldStrategy[] = [fedAvg as unknown as FoldStrategy];

/** The strategy of that name, if there is one. */
export function findStrategy(name: string): FoldStrategy | undefined {
  return strategies.find((strategy) => strategy.name === name);
}

export const strategyNames: readonly string[] = strategies.map(({ name }) => name);
