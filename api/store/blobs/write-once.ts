import type { BlobWriter } from './blob-store.ts';

/** What a store does for one write. `drop` frees and removes what is unfinished, and never throws. */
export interface WriteSteps {
  bytes(): number;
  add(chunks: readonly Uint8Array[]): Promise<void>;
  /** Makes the bytes durable and visible, and begins to free what the write held. */
  publish(): Promise<void>;
  drop(): Promise<void>;
}

/** The life of a writer: open until it is committed, aborted or has failed; a failed one cannot be committed. */
export function writeOnce(key: string, steps: WriteSteps): BlobWriter {
  let isOpen = true;

  async function orDrop(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      isOpen = false;
      await steps.drop();
      throw error;
    }
  }

  function assertOpen(): void {
    if (!isOpen) throw new TypeError(`The blob ${key} is not open for writing`);
  }

  return {
    get bytes() {
      return steps.bytes();
    },
    async write(chunks) {
      assertOpen();
      await orDrop(() => steps.add(chunks instanceof Uint8Array ? [chunks] : chunks));
    },
    async commit() {
      assertOpen();
      isOpen = false;
      await orDrop(steps.publish);
    },
    async abort() {
      if (!isOpen) return;
      isOpen = false;
      await steps.drop();
    },
  };
}
