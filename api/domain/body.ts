/** So much of a body is handed on together, and as much again waits in memory meanwhile: a smaller one comes in one go. */
export const MAX_GATHERED_BYTES = 1 << 19;

export function isGathered(bytes: number): boolean {
  return bytes <= MAX_GATHERED_BYTES;
}

/**
 * Reads a body: shows every piece to `look` as it comes, and yields what has come, in order, in pieces that are valid until
 * the next ones are asked for. What was received before a cut is yielded before `body_incomplete` is thrown. `begin` is
 * called when the body's turn has come, before anything of it is asked for. What either throws ends it. To be called once.
 */
export type ReadBody = (
  look: (piece: Uint8Array) => void,
  begin?: () => Promise<void>,
) => AsyncIterable<readonly Uint8Array[]>;

/** A raw body that has been announced and not been touched. */
export interface DeclaredBody {
  bytes: number;
  /** SHA-256, hex. */
  digest: string;
  /** Starts reading (answers `Expect: 100-continue`); yields exactly `bytes` bytes. */
  body: ReadBody;
}

/** What comes in chunks, each valid until the next one is asked for, as a body. */
export function bodyOf(open: () => AsyncIterable<Uint8Array>): ReadBody {
  return async function* (look, begin) {
    await begin?.();
    for await (const chunk of open()) {
      look(chunk);
      yield [chunk];
    }
  };
}
