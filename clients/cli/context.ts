import { createQuestions, type Questions } from './terminal/questions.ts';
import { openTerminal, type Terminal } from './terminal/terminal.ts';

/** What a verb is given beside its options. */
export interface Context {
  terminal: Terminal;
  questions: Questions;
  env: Record<string, string | undefined>;
  /** The folder that was called from: relative paths start there. */
  cwd: string;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

export type Surroundings = Pick<Context, 'env' | 'cwd' | 'signal'>;

export function createContext(json: boolean, surroundings: Surroundings): Context {
  const terminal = openTerminal({ json, env: surroundings.env });
  return { ...surroundings, terminal, questions: createQuestions(terminal) };
}
