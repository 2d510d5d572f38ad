import type { Release } from '../../typescript/generated/types.gen.ts';
import { ProblemError } from '../../typescript/http/problem-error.ts';
import type { Operator } from '../../typescript/operator/operator.ts';
import { connect, type ServerOptions } from '../connection.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';

export interface HaltOptions extends ServerOptions {
  model: string;
  /** Whoever saw this version fail does not halt the one that took its place meanwhile. */
  version?: number;
}

/** Halts the release of a model that decides now: devices get the version before, whatever its file says. */
export async function haltRelease(options: HaltOptions, context: Context): Promise<void> {
  const operator = await connect(options, context);
  const active = await findActive(operator, options);
  const wasHalted = active.state === 'halted';
  const release = wasHalted ? active : await halt(operator, active);
  const { terminal } = context;
  terminal.say(`${describe(release)} ${wasHalted ? 'was halted already' : 'is halted'}: ${given(release)}`);
  terminal.say(
    'It stays so until the content of its release file changes: fededge release rollback, or create.',
  );
  terminal.result({ release, changed: !wasHalted });
}

async function findActive(operator: Operator, { model, version }: HaltOptions): Promise<Release> {
  const releases = await operator.listReleases({ model });
  const active = releases.find(({ state }) => state !== 'superseded');
  if (!active)
    throw new Failure(`${model} has no release`, 'Is the name right? fededge release status lists all.');
  if (version === undefined || active.version === version) return active;
  const gives = active.version === null ? 'gives no version yet' : `gives version ${active.version}`;
  throw new Failure(
    `the release of ${model} ${gives}, not ${version}; nothing was halted`,
    'Without --version it is halted whatever it gives.',
  );
}

async function halt(operator: Operator, { id, model }: Release): Promise<Release> {
  try {
    return await operator.haltRelease(id);
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== 'conflict') throw error;
    throw new Failure(
      `the release of ${model} has just made way to another; nothing was halted`,
      'Look at what stands now: fededge release status.',
    );
  }
}

function describe({ model, version, step, steps }: Release): string {
  const what = version === null ? `the release of ${model}` : `${model} ${version}`;
  return `${what}, at step ${step + 1} of ${steps},`;
}

function given({ previous }: Release): string {
  return previous === null
    ? 'devices get no version, since there was none before'
    : `every device gets version ${previous}`;
}
