import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';

/**
 * Counts what becomes of updates that are sent: `accepted`, `duplicate`, or the code of the refusal. Nothing where
 * `submit` gives no receipt: the update is welcome, and its bytes are still to come.
 */
export async function countAdmission<R extends { status: 'accepted' | 'duplicate' } | undefined>(
  { metrics }: Pick<Deps, 'metrics'>,
  submit: () => Promise<R>,
): Promise<R> {
  try {
    const receipt = await submit();
    if (receipt) metrics.admissions.inc({ admission: receipt.status });
    // Synchronous rounds take updates of their own base alone.
    if (receipt?.status === 'accepted') metrics.staleness.observe(0);
    return receipt;
  } catch (error) {
    metrics.admissions.inc({ admission: error instanceof FedEdgeError ? error.code : 'failed' });
    throw error;
  }
}
