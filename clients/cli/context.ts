import { createQuestions, type Questions } from './terminal/questions.ts';
import { openTerminal, type Streams, type Terminal } from './terminal/terminal.ts';

/** What a verb is given beside its options. */
export interface Context {
  terminal: Terminal;
  questions: Questions;
  env: Record<string, string | undefined>;
  /** The folder that was called from: relative paths start there. */
  cwd: string;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  /** The process: what it exits with although nothing was thrown. */
  host: Host;
}

/** The part of a process that a call reads from and writes to. */
export interface Host extends Streams {
  exitCode?: number | string | null | undefined;
}

export type Surroundings = Pick<Context, 'env' | 'cwd' | 'signal' | 'host'>;

export function createContext(json: boolean, surroundings: Surroundings): Context {
  const terminal = openTerminal({ json, env: surroundings.env, streams: surroundings.host });
  return { ...surroundings, terminal, questions: createQuestions(terminal) };
}
