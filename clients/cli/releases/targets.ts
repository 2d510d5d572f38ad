import type { Operator } from '../../typescript/operator/operator.ts';
import { Failure } from '../failure.ts';
import { hasSameTarget, type ReleaseFile } from './release-file.ts';

/** Which version a release hands out. */
export interface Target {
  model: string;
  version: number;
  /** `sha-256:...` */
  digest: string;
}

/** A version as the server has it. */
export async function findVersion(operator: Operator, model: string, version: number): Promise<Target> {
  const { digest } = await operator.getVersion(model, version);
  return { model, version, digest: `sha-256:${digest}` };
}

/** The last version that a run has published: promotion of what was trained. */
export async function findRunVersion(operator: Operator, run: string): Promise<Target> {
  const [{ model }, rounds] = await Promise.all([operator.getRun(run), operator.listRounds(run, 'train')]);
  const version = Math.max(0, ...rounds.map((round) => round.version ?? 0));
  if (version === 0)
    throw new Failure(`the run ${run} has published no version`, 'Wait for its first round.');
  return findVersion(operator, model, version);
}

/**
 * The version that devices go on with meanwhile, and go back to: the one that the file gave so far. Undefined where the
 * file does not say it by number.
 */
export function previousOf(before: ReleaseFile | undefined, next: ReleaseFile): number | undefined {
  if (!before) return undefined;
  return hasSameTarget(before, next) ? before.previous : before.version;
}

/**
 * The same as the server knows it, if it has the file that is to be replaced: a version that was paused is nothing to
 * go back to, and a channel's version has a number.
 */
export async function previousOnServer(operator: Operator, before: ReleaseFile): Promise<number | undefined> {
  const releases = await operator.listReleases({ model: before.model });
  const active = releases.find(({ state }) => state !== 'superseded');
  if (!active) return undefined;
  const isSame = before.channel
    ? active.channel === before.channel
    : before.digest === `sha-256:${active.digest}`;
  if (!isSame) return undefined;
  const isGiven = active.state === 'rolling' || active.state === 'complete';
  return (isGiven ? active.version : active.previous) ?? undefined;
}
