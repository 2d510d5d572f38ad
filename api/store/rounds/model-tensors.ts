import { eq, sql } from 'drizzle-orm';
import type { Manifest } from '../../domain/manifest.ts';
import type { Queryable } from '../database.ts';
import { models } from '../schema.ts';

const MAX_MODELS = 16;

/** The tensors of a model never change: those that were asked for last are kept. */
const known = new WeakMap<Queryable, Map<string, Promise<Manifest>>>();

/** The tensors of a model: kept apart from the assignment, and from the topology, which can be large. */
export function findTensors(q: Queryable, modelId: string): Promise<Manifest> {
  const kept = known.get(q) ?? new Map<string, Promise<Manifest>>();
  known.set(q, kept);
  const found = kept.get(modelId) ?? readTensors(q, modelId);
  // A Map keeps the order of insertion: its first entry is the one that was asked for longest ago.
  kept.delete(modelId);
  if (kept.size >= MAX_MODELS) kept.delete(kept.keys().next().value!);
  kept.set(modelId, found);
  found.catch(() => kept.get(modelId) === found && kept.delete(modelId));
  return found;
}

async function readTensors(q: Queryable, modelId: string): Promise<Manifest> {
  const rows = await q
    .select({ tensors: sql<Manifest['tensors']>`${models.manifest} -> 'tensors'` })
    .from(models)
    .where(eq(models.id, modelId));
  return { tensors: rows[0]!.tensors };
}
