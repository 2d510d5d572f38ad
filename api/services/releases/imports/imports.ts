import type { Deps } from '../../../deps.ts';
import { bodyOf } from '../../../domain/body.ts';
import { FedEdgeError } from '../../../domain/errors.ts';
import type { Principal } from '../../../domain/role.ts';
import { tellable } from '../../../domain/tellable.ts';
import { findModelSummary } from '../../../store/models/models.ts';
import { findVersionByDigest } from '../../../store/models/versions.ts';
import { catalogLocks, whileAlone } from '../../../store/releases/catalog-locks.ts';
import { listActiveReleases, moveRelease, type ReleaseRow } from '../../../store/releases/releases.ts';
import { createVersion } from '../../models/versions.ts';
import { announceRelease } from '../announcements.ts';
import { eachInTurn } from '../in-turn.ts';
import { openSource } from './sources.ts';

const MAX_REASON = 400;

/**
 * Imports the versions that waiting releases name by a source and no version has the bytes of yet: as the model's next
 * version, by the same way as an upload. One process does it at a time; what fails is told in the release's `reason` and
 * tried again at the next call. Returns how many it has imported.
 */
export async function importSources(deps: Deps, principal: Principal): Promise<number> {
  const imported = await whileAlone(deps.db, catalogLocks.import, async () => {
    let done = 0;
    await eachInTurn(await listActiveReleases(deps.db.pool, principal.federationId), async (release) => {
      if (await isToImport(deps, release)) done += await importSource(deps, principal, release);
    });
    return done;
  });
  return imported ?? 0;
}

async function isToImport({ db }: Deps, { state, document, federationId }: ReleaseRow): Promise<boolean> {
  if (state !== 'waiting' || !document.source || document.digest === undefined) return false;
  const model = await findModelSummary(db.pool, federationId, document.model);
  return model !== undefined && !(await findVersionByDigest(db.pool, model.id, document.digest));
}

async function importSource(deps: Deps, principal: Principal, release: ReleaseRow): Promise<0 | 1> {
  const { model, source, digest } = release.document;
  try {
    const { bytes, body, discard } = await openSource(deps, source!, digest!);
    await createVersion(deps, principal, model, { bytes, digest: digest!, body: bodyOf(body) }).finally(
      discard,
    );
    return 1;
  } catch (error) {
    if (deps.stopping.aborted) return 0;
    deps.log.warn({ err: error, release: release.id, model }, 'a version cannot be imported');
    await noteFailure(deps, release, tellable(`import_failed: ${describe(error)}`, MAX_REASON));
    return 0;
  }
}

async function noteFailure({ db, clock }: Deps, release: ReleaseRow, reason: string): Promise<void> {
  if (release.reason === reason) return;
  await db.transaction(async (tx) => {
    const moved = await moveRelease(tx, release, { reason });
    if (moved) await announceRelease(tx, moved, { actor: 'system', action: 'wait', now: clock.now() });
  });
}

function describe(error: unknown): string {
  if (!(error instanceof FedEdgeError)) {
    const { message, cause } = error as Error;
    // What fetch says itself is that it failed.
    return message === 'fetch failed' && cause instanceof Error ? `${message}: ${cause.message}` : message;
  }
  const { reason } = error.details;
  return typeof reason === 'string' ? `${error.code} (${reason})` : error.code;
}
