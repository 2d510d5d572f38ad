import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import type { TensorEntry, TensorHeader } from '../../domain/tensors.ts';
import type { Queryable } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { abandonBlob, reserveBlob, retireBlobs, settleBlob } from '../../store/models/blob-rows.ts';
import { lockModel, type ModelSummaryRow, setEvaluationSet } from '../../store/models/models.ts';
import { actorOf } from '../identity/actors.ts';
import { requireModelSummary } from './models.ts';
import { receiveTensors } from './tensor-intake.ts';
import type { IntakePlan } from './tensor-stream.ts';

/** A model's labelled examples, which the server scores its versions on. */
export interface EvaluationSetSummary {
  digest: string;
  examples: number;
}

/**
 * Stores the model's evaluation set in place of the one before: tensors `x` [N, ...] (F32, or U8 for images) and `y`
 * [N] (class indices, I32 or U8). The same bytes again change nothing.
 */
export async function putEvaluationSet(
  deps: Deps,
  operator: Principal,
  modelName: string,
  declared: DeclaredBody,
): Promise<EvaluationSetSummary> {
  const { pool } = deps.db;
  const model = await requireModelSummary(deps, operator, modelName);
  const current = summarize(model);
  if (current?.digest === declared.digest) return current;
  const startedAt = deps.clock.now();
  const key = `evaluation-set/${newId(startedAt)}`;
  await reserveBlob(pool, key, startedAt);
  try {
    const { bytes, digest, body } = declared;
    const { header } = await receiveTensors(deps, {
      claim: () => ({ key }),
      bytes,
      digest,
      body,
      plan: planExamples,
    });
    const examples = header.entries[0]!.shape[0]!;
    await deps.db.transaction((tx) => replace(tx, deps, operator, model, { key, digest, examples }));
    return { digest, examples };
  } catch (error) {
    await abandonBlob(pool, key).catch(() => undefined);
    throw error;
  }
}

export async function requireEvaluationSet(
  deps: Deps,
  principal: Principal,
  modelName: string,
): Promise<EvaluationSetSummary> {
  const set = summarize(await requireModelSummary(deps, principal, modelName));
  if (!set) throw new FedEdgeError('not_found');
  return set;
}

async function replace(
  tx: Queryable,
  deps: Deps,
  operator: Principal,
  { id, name }: ModelSummaryRow,
  set: { key: string; digest: string; examples: number },
): Promise<void> {
  const model = await lockModel(tx, id);
  if (!(await settleBlob(tx, set.key))) throw new FedEdgeError('unavailable');
  await setEvaluationSet(tx, model, set);
  if (model.evaluationKey) await retireBlobs(tx, [model.evaluationKey]);
  await recordAudit(tx, {
    federationId: operator.federationId,
    actor: actorOf(operator),
    action: 'evaluation_set.put',
    target: `model:${name}`,
    details: { digest: set.digest, examples: set.examples },
    createdAt: deps.clock.now(),
  });
  await notify(tx, channels.work);
}

function summarize({
  evaluationDigest,
  evaluationExamples,
}: ModelSummaryRow): EvaluationSetSummary | undefined {
  if (evaluationDigest === null || evaluationExamples === null) return undefined;
  return { digest: evaluationDigest, examples: evaluationExamples };
}

function planExamples({ entries, headerBytes }: TensorHeader): IntakePlan {
  const x = entries.find(({ name }) => name === 'x');
  const y = entries.find(({ name }) => name === 'y');
  const reason = examplesFault(entries, x, y);
  if (reason !== undefined || !x) return { ok: false, reason: reason ?? 'tensor x is missing' };
  if (x.dtype !== 'F32') return { ok: true, segments: [] };
  return {
    ok: true,
    segments: [{ fileStart: headerBytes + x.start, fileEnd: headerBytes + x.end, dtype: 'F32' }],
  };
}

function examplesFault(
  entries: readonly TensorEntry[],
  x: TensorEntry | undefined,
  y: TensorEntry | undefined,
): string | undefined {
  if (!x) return 'tensor x is missing';
  if (!y) return 'tensor y is missing';
  if (entries.length > 2) return 'there are more tensors than x and y';
  if (x.dtype !== 'F32' && x.dtype !== 'U8') return `tensor x has dtype ${x.dtype}, not F32 or U8`;
  if (y.dtype !== 'I32' && y.dtype !== 'U8') return `tensor y has dtype ${y.dtype}, not I32 or U8`;
  if (x.shape.length < 2) return 'tensor x has no dimension beside that of the examples';
  if (y.shape.length !== 1) return 'tensor y does not have one dimension';
  if (x.shape[0] !== y.shape[0]) return `x has ${x.shape[0]} examples and y has ${y.shape[0]}`;
  if (x.shape.includes(0)) return 'there are no examples';
  return undefined;
}
