import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Metrics } from '../../domain/metrics.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { putReport } from '../../store/releases/reports.ts';
import { requireModelSummary } from '../models/models.ts';
import { requireVersion } from '../models/versions.ts';
import { type Decision, decideVersion } from './decisions.ts';

export interface VersionReport {
  numExamples: number;
  metrics: Metrics;
}

/**
 * Takes how a version does on a device; the last report of a device about a version counts. Throws `not_found` if the
 * version is not the one that the device is to use: nobody judges what he was not given.
 */
export async function reportVersion(
  deps: Deps,
  device: DevicePrincipal,
  { model: name, version }: { model: string; version: number },
  { numExamples, metrics }: VersionReport,
): Promise<{ model: string; version: number; receivedAt: Date }> {
  const { modelId } = await requireVersion(deps, device, name, version);
  const model = await requireModelSummary(deps, device, name);
  if (!mayReport(await decideVersion(deps, device, model), version)) throw new FedEdgeError('not_found');
  const receivedAt = deps.clock.now();
  const { federationId, id: deviceId } = device;
  await putReport(deps.db.pool, {
    modelId,
    version,
    deviceId,
    federationId,
    numExamples,
    metrics,
    receivedAt,
  });
  return { model: name, version, receivedAt };
}

/** Where the head decides it may have moved on while the device was measuring. */
function mayReport({ version: current, release }: Decision, version: number): boolean {
  if (current === null) return false;
  const followsHead = release === undefined || release.document.channel === 'head';
  return followsHead ? version <= current : version === current;
}
