import { confirm, isCancel, select, text } from '@clack/prompts';
import { Failure, misuse } from '../failure.ts';
import type { Terminal } from './terminal.ts';

export interface Choice {
  value: string;
  label?: string;
  hint?: string;
}

/** Questions, where somebody can answer them. */
export interface Questions {
  /** The option's value, or what is chosen. Throws a usage failure that names the option where nobody can choose. */
  choose(
    option: string,
    given: string | undefined,
    ask: { message: string; choices: () => Promise<Choice[]> },
  ): Promise<string>;
  /** A line of text; empty means none. Without a terminal: none. */
  line(ask: {
    message: string;
    placeholder: string;
    check: (value: string) => string | undefined;
  }): Promise<string>;
  /** False where nobody can answer. */
  agree(message: string): Promise<boolean>;
  /** True once a question was asked. */
  readonly wereAsked: boolean;
}

export function createQuestions({ isInteractive }: Terminal): Questions {
  let wereAsked = false;
  return {
    get wereAsked() {
      return wereAsked;
    },
    async choose(option, given, { message, choices }) {
      if (given !== undefined) return given;
      if (!isInteractive)
        throw misuse(`${option} is missing`, 'Name it, or call this in a terminal to be asked.');
      const options = await choices();
      if (options.length === 0) throw new Failure(`there is nothing to choose for ${option}`);
      wereAsked = true;
      return answerOf(
        await select({ message, options: options.map((choice) => ({ label: choice.value, ...choice })) }),
      );
    },
    async line({ message, placeholder, check }) {
      if (!isInteractive) return '';
      wereAsked = true;
      const validate = (value: string | undefined) => (value ? check(value) : undefined);
      return answerOf(await text({ message, placeholder, validate })) ?? '';
    },
    async agree(message) {
      return isInteractive && answerOf(await confirm({ message }));
    },
  };
}

function answerOf<T>(answer: T): Exclude<T, symbol> {
  if (isCancel(answer)) throw new Failure('stopped; nothing was changed');
  return answer as Exclude<T, symbol>;
}
