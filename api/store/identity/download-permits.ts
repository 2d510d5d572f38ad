import { channels } from '../journal/channels.ts';
import type { Listener } from '../journal/listener.ts';

const TTL_MS = 15_000;
const MAX_DEVICES = 50_000;

/** A file that a device may fetch. */
export interface PermittedFile {
  model: string;
  version: number;
  blobKey: string;
  /** SHA-256, hex. */
  digest: string;
  bytes: number;
}

/**
 * What a replica remembers of the file that each device was last allowed to fetch: for 15 s at most, and only until
 * anything is announced that may have changed it, or its device has settled an assignment here.
 */
export interface DownloadPermits {
  /** The file that the device was last allowed to fetch. */
  recall(deviceId: string, now: Date): PermittedFile | undefined;
  /** The same, if it is this one. */
  find(deviceId: string, model: string, version: number, now: Date): PermittedFile | undefined;
  /** Keeps what `load` finds, unless it was overtaken by a change. That there is nothing is never remembered. */
  load<F extends PermittedFile>(
    deviceId: string,
    now: Date,
    load: () => Promise<F | undefined>,
  ): Promise<F | undefined>;
  /** Call it when a device has settled an assignment. */
  forget(deviceId: string): void;
}

export function createDownloadPermits(listener: Listener): DownloadPermits {
  const permits = new Map<string, { file: PermittedFile; loadedAt: number }>();
  let changes = 0;

  const forget = (deviceId: string) => {
    changes += 1;
    if (deviceId === '') permits.clear();
    else permits.delete(deviceId);
  };
  listener.subscribe(channels.credentials, forget);
  // Rounds, heads, releases, labels: rarely more often than rounds come and go.
  for (const channel of [channels.assignments, channels.work, channels.events]) {
    listener.subscribe(channel, () => forget(''));
  }

  function remember(deviceId: string, file: PermittedFile, loadedAt: number): void {
    permits.delete(deviceId);
    if (permits.size >= MAX_DEVICES) permits.delete(permits.keys().next().value!);
    permits.set(deviceId, { file, loadedAt });
  }

  function recall(deviceId: string, now: Date): PermittedFile | undefined {
    const found = permits.get(deviceId);
    if (!found) return undefined;
    const age = now.getTime() - found.loadedAt;
    return age >= 0 && age < TTL_MS ? found.file : undefined;
  }

  return {
    recall,
    find(deviceId, model, version, now) {
      const file = recall(deviceId, now);
      return file?.version === version && file.model === model ? file : undefined;
    },
    async load(deviceId, now, load) {
      const before = changes;
      const file = await load();
      if (file && before === changes) remember(deviceId, file, now.getTime());
      return file;
    },
    forget,
  };
}
