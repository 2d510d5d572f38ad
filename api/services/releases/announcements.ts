import type { Queryable } from '../../store/database.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import type { ReleaseRow } from '../../store/releases/releases.ts';

/** `release.ACTION` in the audit log, `release.STATE` among the events (`release.stepped` for a step). */
export type ReleaseAction =
  | 'create'
  | 'activate'
  | 'wait'
  | 'roll'
  | 'step'
  | 'complete'
  | 'pause'
  | 'halt'
  | 'supersede';

/** Tells of a change in its transaction: who did it, and what the release is now. */
export async function announceRelease(
  tx: Queryable,
  release: ReleaseRow,
  { actor, action, now }: { actor: string; action: ReleaseAction; now: Date },
): Promise<void> {
  const { id, federationId, model, contentHash, state, step, version, reason } = release;
  const facts = {
    state,
    step,
    ...(version === null ? {} : { version }),
    ...(reason === null ? {} : { reason }),
  };
  await recordAudit(tx, {
    federationId,
    actor,
    action: `release.${action}`,
    target: `release:${id}`,
    details: { model, contentHash, ...facts },
    createdAt: now,
  });
  const type = action === 'step' ? 'release.stepped' : `release.${state}`;
  await recordEvent(tx, { federationId, type, subject: { release: id, model, ...facts }, createdAt: now });
  await notify(tx, channels.events);
}
