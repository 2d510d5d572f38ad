import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A path in memory where the system has such a folder: for tests that wait for a disk a thousand times. */
export function memoryFolder(name: string): string {
  return join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), name);
}
