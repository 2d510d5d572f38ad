import type { Release } from '../generated/types.gen.ts';

const WORDS: Readonly<Record<string, string>> = {
  no_model: 'waits for its model, which the server does not have yet',
  no_version: 'waits for the version that its file names, which the server does not have yet',
  no_previous: 'waits for the version before that its file names, which the server does not have yet',
  importing: 'waits for the import of its version, which is under way',
  import_failed: 'cannot import its version, and tries again',
  digest_differs: 'has failed: its file names another digest than the server has',
  gate_failed: 'has failed its gate',
  halted: 'was halted by an operator',
};

/** Why a release does not go on, as a person would say it after the model's name; undefined: it does go on. */
export function explainReason({ state, reason }: Pick<Release, 'state' | 'reason'>): string | undefined {
  if (reason === null) return undefined;
  const [, code = '', detail] = /^([a-z_]+)(?:: (.*))?$/s.exec(reason) ?? [];
  const words = WORDS[code];
  if (words === undefined) return `is ${state}: ${reason}`;
  return detail === undefined ? words : `${words}: ${detail}`;
}
