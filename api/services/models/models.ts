import type { Deps } from '../../deps.ts';
import { checkArchitecture } from '../../domain/architecture.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { type Manifest, manifestFault, placeTensors } from '../../domain/manifest.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import {
  findModel,
  findModelSummary,
  insertModel,
  listModels as listModelRows,
  type ModelRow,
  type ModelSummaryRow,
} from '../../store/models/models.ts';
import { actorOf } from '../identity/actors.ts';

/** What PostgreSQL's jsonb does not take, in JSON text: NUL and lone surrogates. */
const UNSTORABLE = /\\u(0000|d[89a-f][0-9a-f]{2})/;

/** Creates a model without a version. Throws `name_taken`, `invalid_manifest`, `architecture_refused`. */
export async function createModel(
  deps: Deps,
  operator: Principal,
  input: { name: string; description: string; manifest: Manifest },
): Promise<ModelRow> {
  assertManifest(input.manifest);
  const createdAt = deps.clock.now();
  const { parameters } = placeTensors(input.manifest);
  const model = {
    ...input,
    id: newId(createdAt),
    federationId: operator.federationId,
    parameters,
    createdAt,
  };
  await deps.db.transaction(async (tx) => {
    if (!(await insertModel(tx, model))) throw new FedEdgeError('name_taken');
    const { federationId, name } = model;
    await recordAudit(tx, {
      federationId,
      actor: actorOf(operator),
      action: 'model.create',
      target: `model:${name}`,
      details: { parameters },
      createdAt,
    });
    await recordEvent(tx, { federationId, type: 'model.created', subject: { model: name }, createdAt });
    await notify(tx, channels.events);
  });
  return { ...model, head: null, evaluationKey: null, evaluationDigest: null, evaluationExamples: null };
}

export async function requireModel(
  { db }: Deps,
  { federationId }: Principal,
  name: string,
): Promise<ModelRow> {
  const model = await findModel(db.pool, federationId, name);
  if (!model) throw new FedEdgeError('not_found');
  return model;
}

/** Without the manifest, for what only asks whether the model is there. */
export async function requireModelSummary(
  { db }: Deps,
  { federationId }: Principal,
  name: string,
): Promise<ModelSummaryRow> {
  const model = await findModelSummary(db.pool, federationId, name);
  if (!model) throw new FedEdgeError('not_found');
  return model;
}

export function listModels(
  { db }: Deps,
  { federationId }: Principal,
  page: Page,
): Promise<ModelSummaryRow[]> {
  return listModelRows(db.pool, federationId, page);
}

function assertManifest(manifest: Manifest): void {
  const fault = manifestFault(manifest);
  if (fault) throw new FedEdgeError('invalid_manifest', { reason: fault });
  if (manifest.architecture) {
    const checked = checkArchitecture(manifest.architecture.topology);
    if (!checked.ok) throw new FedEdgeError('architecture_refused', { reason: checked.reason });
  }
  if (UNSTORABLE.test(JSON.stringify(manifest))) {
    throw new FedEdgeError('invalid_manifest', { reason: 'a text has characters that are not Unicode text' });
  }
}
