import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package as package-lock.json (version 3) has it. */
export interface LockedPackage {
  version: string;
  /** `sha512-` and base64, of the archive in the registry. */
  integrity?: string;
  license?: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

/** The packages by their folder below the root (`node_modules/a/node_modules/b`). */
export type Lockfile = ReadonlyMap<string, LockedPackage>;

export async function readLockfile(root: string): Promise<Lockfile> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  return new Map(Object.entries(packages));
}

/** The folder in which a package finds another by name: its own, else those above it. Undefined: none is locked. */
export function resolveLocked(lockfile: Lockfile, folder: string, name: string): string | undefined {
  for (let from = folder; ; from = from.slice(0, Math.max(0, from.lastIndexOf('node_modules/') - 1))) {
    const candidate = from === '' ? `node_modules/${name}` : `${from}/node_modules/${name}`;
    if (lockfile.has(candidate)) return candidate;
    if (from === '') return undefined;
  }
}

/** `node_modules/@a/b` is the package `@a/b`. */
export function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

/** The archive's SHA-512 in hex. */
export function sha512Of({ integrity = '' }: LockedPackage): string | undefined {
  const [, digest] = /^sha512-([A-Za-z0-9+/=]+)$/.exec(integrity) ?? [];
  return digest === undefined ? undefined : Buffer.from(digest, 'base64').toString('hex');
}
