import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Logger } from 'pino';
import type { TokenKeys } from '../../deps.ts';
import { loadTokenKeys, tokenKeysFile } from './token-keys.ts';

/** Editors and orchestrators touch a file several times for one change. */
const SETTLE_MS = 100;

/**
 * Reads the keys of access tokens again when their file changes or `reload` is called (SIGHUP), and changes `keys` in
 * place. A file that cannot be used is logged and changes nothing. A mounted secret changes as its folder does, so the
 * folder is watched.
 */
export function followTokenKeys(
  keys: TokenKeys,
  source: { dataDir: string; file: string | undefined },
  log: Logger,
): { reload(): Promise<void>; stop(): void } {
  const path = tokenKeysFile(source);
  let timer: NodeJS.Timeout | undefined;

  async function reload(): Promise<void> {
    try {
      const loaded = await loadTokenKeys({ ...source, file: path });
      if (JSON.stringify(loaded.jwks) === JSON.stringify(keys.jwks)) return;
      Object.assign(keys, loaded);
      log.info({ kids: [...keys.verifying.keys()] }, 'the keys of access tokens were read again');
    } catch (error) {
      log.error({ err: error }, 'the keys of access tokens cannot be read again: those before stay');
    }
  }

  const watcher = watchFolder(dirname(path), (name) => {
    // Kubernetes swaps a link beside the file.
    if (name !== null && name !== basename(path) && !name.startsWith('..data')) return;
    clearTimeout(timer);
    timer = setTimeout(() => void reload(), SETTLE_MS).unref();
  });
  watcher?.on('error', (error) => log.warn({ err: error, file: basename(path) }, 'a file cannot be watched'));
  return {
    reload,
    stop() {
      clearTimeout(timer);
      watcher?.close();
    },
  };
}

/** Undefined where folders cannot be watched: a signal still works. */
function watchFolder(folder: string, onChange: (name: string | null) => void): FSWatcher | undefined {
  try {
    return watch(folder, { persistent: false }, (_event, name) => onChange(name));
  } catch {
    return undefined;
  }
}
