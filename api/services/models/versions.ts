import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { type Manifest, placeTensors, weightsFault } from '../../domain/manifest.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import type { TensorHeader } from '../../domain/tensors.ts';
import { maxUpdateBytes } from '../../domain/update.ts';
import type { Queryable } from '../../store/database.ts';
import type { PermittedFile } from '../../store/identity/download-permits.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { abandonBlob, reserveBlob, settleBlob } from '../../store/models/blob-rows.ts';
import { hasOpenRun, lockModel, type ModelRow, moveHead } from '../../store/models/models.ts';
import {
  findVersion,
  findWeights,
  insertVersion,
  listVersions as listVersionRows,
  nextVersion,
  type VersionRow,
} from '../../store/models/versions.ts';
import { actorOf } from '../identity/actors.ts';
import { decideVersion } from '../releases/decisions.ts';
import { requireModel, requireModelSummary } from './models.ts';
import { receiveTensors } from './tensor-intake.ts';
import type { IntakePlan, ValueSegment } from './tensor-stream.ts';

/** A version with the name of its model. */
export interface NamedVersion extends VersionRow {
  model: string;
}

/**
 * Takes weights from an operator as the model's next version and moves the head to it. The file is kept byte for byte.
 * The bytes that the head has already change nothing: the head is the answer, so a lost answer may be asked for again.
 * Throws `model_busy` while a run is not over, `too_large`, and what `receiveTensors` throws.
 */
export async function createVersion(
  deps: Deps,
  operator: Principal,
  modelName: string,
  declared: DeclaredBody,
): Promise<{ created: boolean; version: NamedVersion }> {
  const { pool } = deps.db;
  const model = await requireModel(deps, operator, modelName);
  if (model.head !== null) {
    const head = await findVersion(pool, model.id, model.head);
    if (head?.digest === declared.digest) return { created: false, version: { ...head, model: model.name } };
  }
  if (await hasOpenRun(pool, model.id)) throw new FedEdgeError('model_busy');
  const maxBytes = maxUpdateBytes(model.parameters);
  if (declared.bytes > maxBytes) throw new FedEdgeError('too_large', { maxBytes });
  const startedAt = deps.clock.now();
  const blobKey = `version/${newId(startedAt)}`;
  await reserveBlob(pool, blobKey, startedAt);
  try {
    const { bytes, digest, body } = declared;
    const plan = (header: TensorHeader) => planWeights(header, model.manifest);
    await receiveTensors(deps, { claim: () => ({ key: blobKey }), bytes, digest, body, plan });
    const version = await deps.db.transaction((tx) =>
      publish(tx, deps, operator, model, { blobKey, bytes, digest }),
    );
    return { created: true, version: { ...version, model: model.name } };
  } catch (error) {
    await abandonBlob(pool, blobKey).catch(() => undefined);
    throw error;
  }
}

/** Weights lie in the file in the manifest's order, so that a range of the flattened model is a range of the file. */
function planWeights({ entries, headerBytes }: TensorHeader, manifest: Manifest): IntakePlan {
  const fault = weightsFault(manifest, entries);
  if (fault) return { ok: false, reason: fault };
  const { tensors } = placeTensors(manifest);
  const misplaced = tensors.find(({ name }, index) => entries[index]?.name !== name);
  if (misplaced) return { ok: false, reason: `tensor ${misplaced.name} is not in the manifest's order` };
  const segments: ValueSegment[] = entries.map(({ start, end }) => ({
    fileStart: headerBytes + start,
    fileEnd: headerBytes + end,
    dtype: 'F32',
  }));
  return { ok: true, segments };
}

async function publish(
  tx: Queryable,
  deps: Deps,
  operator: Principal,
  { id: modelId, name }: ModelRow,
  file: { blobKey: string; bytes: number; digest: string },
): Promise<VersionRow> {
  const { federationId } = operator;
  const { head } = await lockModel(tx, modelId);
  if (await hasOpenRun(tx, modelId)) throw new FedEdgeError('model_busy');
  if (!(await settleBlob(tx, file.blobKey))) throw new FedEdgeError('unavailable');
  const version = await nextVersion(tx, modelId);
  const createdAt = deps.clock.now();
  const row = await insertVersion(tx, {
    ...file,
    modelId,
    federationId,
    version,
    parent: head,
    metrics: {},
    createdAt,
  });
  if (!(await moveHead(tx, modelId, head, version))) throw new FedEdgeError('conflict');
  await recordAudit(tx, {
    federationId,
    actor: actorOf(operator),
    action: 'version.create',
    target: `model:${name}`,
    details: { version, digest: file.digest },
    createdAt,
  });
  await recordEvent(tx, {
    federationId,
    type: 'version.created',
    subject: { model: name, version },
    createdAt,
  });
  await notify(tx, channels.work);
  await notify(tx, channels.events);
  return row;
}

export async function requireVersion(
  deps: Deps,
  principal: Principal,
  modelName: string,
  version: number,
): Promise<NamedVersion> {
  const model = await requireModelSummary(deps, principal, modelName);
  const row = await findVersion(deps.db.pool, model.id, version);
  if (!row) throw new FedEdgeError('not_found');
  return { ...row, model: model.name };
}

/** The weights that the principal may fetch: a device those that its assignment or `current` names. */
export async function requireDownload(
  deps: Deps,
  principal: Principal,
  model: string,
  version: number,
): Promise<PermittedFile> {
  const find = () => findDownload(deps, principal, model, version);
  const { permits } = deps.credentials;
  const now = deps.clock.now();
  const file =
    principal.kind === 'operator'
      ? await find()
      : (permits.find(principal.id, model, version, now) ?? (await permits.load(principal.id, now, find)));
  if (!file) throw new FedEdgeError('not_found');
  return file;
}

async function findDownload(
  deps: Deps,
  principal: Principal,
  name: string,
  version: number,
): Promise<PermittedFile | undefined> {
  const { pool } = deps.db;
  const { federationId, id } = principal;
  const isDevice = principal.kind === 'device';
  const found = await findWeights(pool, { federationId, name, version, ...(isDevice && { deviceId: id }) });
  if (!found) return undefined;
  const { isAssigned, head, ...file } = found;
  const isAllowed =
    !isDevice ||
    isAssigned ||
    (await decideVersion(deps, principal, { federationId, name, head })).version === version;
  return isAllowed ? { ...file, model: name, version } : undefined;
}

export async function listVersions(
  deps: Deps,
  principal: Principal,
  modelName: string,
  page: Page,
): Promise<NamedVersion[]> {
  const model = await requireModelSummary(deps, principal, modelName);
  const rows = await listVersionRows(deps.db.pool, model.id, page);
  return rows.map((row) => ({ ...row, model: model.name }));
}

/**
 * The version that the caller is to use now, and a mark of the release's activation that decided so. Throws `no_version`,
 * and `no_release` if the release gives it none.
 */
export async function currentVersion(
  deps: Deps,
  principal: Principal,
  modelName: string,
): Promise<{ current: NamedVersion; decidedBy: string }> {
  const model = await requireModelSummary(deps, principal, modelName);
  const { version, release } = await decideVersion(deps, principal, model);
  const row = version === null ? undefined : await findVersion(deps.db.pool, model.id, version);
  if (!row) throw new FedEdgeError(release ? 'no_release' : 'no_version');
  const decidedBy = release ? `${release.id} ${release.activatedAt.toISOString()}` : 'head';
  return { current: { ...row, model: model.name }, decidedBy };
}
