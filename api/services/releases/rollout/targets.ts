import type { Target } from '../../../domain/rollout.ts';
import type { Queryable } from '../../../store/database.ts';
import { findModelSummary } from '../../../store/models/models.ts';
import { findVersion, findVersionByDigest, type VersionRow } from '../../../store/models/versions.ts';
import type { ReleaseRow } from '../../../store/releases/releases.ts';

/** The version that a release's document names, if all that it names is there. */
export async function findTarget(q: Queryable, release: ReleaseRow): Promise<Target> {
  const { federationId, document } = release;
  const model = await findModelSummary(q, federationId, document.model);
  if (!model) return { found: false, reason: 'no_model' };
  const named = document.version ?? (document.channel === 'head' ? model.head : null);
  const found = document.source
    ? await findVersionByDigest(q, model.id, document.digest ?? '')
    : named === null
      ? undefined
      : await findVersion(q, model.id, named);
  if (!found) return { found: false, reason: document.source ? 'importing' : 'no_version' };
  if (document.digest !== undefined && found.digest !== document.digest) {
    return { found: false, reason: 'digest_differs', detail: `version ${found.version} has ${found.digest}` };
  }
  return (await isPreviousThere(q, found, document.previous))
    ? { found: true, version: found.version, digest: found.digest }
    : { found: false, reason: 'no_previous' };
}

async function isPreviousThere(
  q: Queryable,
  { modelId }: VersionRow,
  previous: number | undefined,
): Promise<boolean> {
  return previous === undefined || (await findVersion(q, modelId, previous)) !== undefined;
}
