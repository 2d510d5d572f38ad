import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Context } from '../context.ts';

export type Verb<T> = (options: T, context: Context) => Promise<void>;

/** Does a verb with the options that were read and the context of this call. */
export interface Runner {
  run<T>(verb: Verb<T>): (options: T & { json?: boolean }) => Promise<void>;
}

export function addServer(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'the server').env('FEDEDGE_URL'))
    .addOption(
      new Option('--key-file <file>', 'the file of an operator key').env('FEDEDGE_OPERATOR_KEY_FILE'),
    );
}

/** Options of a verb that changes a release file. */
export function addCommit(command: Command): Command {
  return addRepository(addJson(command))
    .option('--commit', 'commit the release file and the manifests')
    .option('--branch <name>', 'commit on a new branch')
    .option('--push', 'commit, and push');
}

export function addRepository(command: Command): Command {
  return command.option('--repository <folder>', 'the work tree (default: the one around this folder)');
}

export function addJson(command: Command): Command {
  return command.option('--json', 'one object as the last line');
}

export function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

export function readCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('A number from 1.');
}
