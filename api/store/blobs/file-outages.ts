import { BlobExistsError, BlobUnavailableError } from './blob-store.ts';

/** Runs an operation of the file system; what it throws besides our own errors is an outage. */
export async function outages<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw asOutage(error);
  }
}

/** System errors carry a `syscall`; anything else (our own errors, a failpoint's) passes as it is. */
export function asOutage(error: unknown): unknown {
  const isSystemError = error instanceof Error && 'syscall' in error;
  return isSystemError ? new BlobUnavailableError(error.message, { cause: error }) : error;
}

/** What it gives; undefined if it fails. */
export function attempt<T>(step: () => T): T | undefined {
  try {
    return step();
  } catch {
    return undefined;
  }
}

export function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR');
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

export function asExisting(error: unknown, key: string): unknown {
  return hasCode(error, 'EEXIST') ? new BlobExistsError(key, { cause: error }) : error;
}

/** Rejects as one of them does, but only when none is under way any more: then their file may be closed. */
export async function whenSettled(steps: readonly unknown[]): Promise<void> {
  for (const result of await Promise.allSettled(steps)) if (result.status === 'rejected') throw result.reason;
}
