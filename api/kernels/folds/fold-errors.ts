/** Why a call was refused before it touched anything, or could not be carried out as asked. */
export type FoldFault =
  | 'unknown_strategy'
  | 'bad_parameters'
  | 'bad_range'
  | 'bad_weight'
  | 'bad_segments'
  | 'bad_checkpoint'
  | 'bad_base'
  | 'bad_source'
  | 'fold_exists'
  | 'fold_busy'
  | 'out_of_memory';

export class FoldRequestError extends Error {
  override name = 'FoldRequestError';
  readonly fault: FoldFault;
  constructor(fault: FoldFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** The fold does not live on the thread (any more): begin it again and restore it from its checkpoint. */
export class FoldLostError extends Error {
  override name = 'FoldLostError';
}

/**
 * The thread died or was closed under the call. All its folds are gone; the next begin() starts a new thread.
 */
export class FoldThreadError extends Error {
  override name = 'FoldThreadError';
}

/** The file that was being folded could not be read any further. */
export class FoldSourceError extends Error {
  override name = 'FoldSourceError';
}

/** The next model would hold a NaN or an infinity. */
export class NonFiniteError extends Error {
  override name = 'NonFiniteError';
}

/** An error's form on its way between threads. */
export interface FoldFailure {
  name: string;
  message: string;
  fault?: FoldFault | undefined;
}

export function packFailure(error: unknown): FoldFailure {
  if (error instanceof FoldRequestError)
    return { name: error.name, message: error.message, fault: error.fault };
  if (error instanceof FoldLostError || error instanceof NonFiniteError) {
    return { name: error.name, message: error.message };
  }
  // Of the system's calls the thread makes those alone that read a file.
  if (error instanceof FoldSourceError || (error instanceof Error && 'syscall' in error))
    return { name: 'FoldSourceError', message: error.message };
  return {
    name: 'FoldThreadError',
    message: `the fold failed: ${error instanceof Error ? error.stack : error}`,
  };
}

export function unpackFailure({ name, message, fault }: FoldFailure): Error {
  if (fault) return new FoldRequestError(fault, message);
  if (name === 'FoldSourceError') return new FoldSourceError(message);
  if (name === 'FoldLostError') return new FoldLostError(message);
  if (name === 'NonFiniteError') return new NonFiniteError(message);
  return new FoldThreadError(message);
}
