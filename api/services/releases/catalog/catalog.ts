import { createHash } from 'node:crypto';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import type { ReleaseDocument } from '../../../domain/release.ts';
import { type CatalogFile, readCatalogFiles } from './catalog-files.ts';
import type { CatalogText } from './catalog-folder.ts';
import type { CatalogFault } from './catalogs.ts';
import { readReleaseFile } from './release-files.ts';
import { type ReadRun, type RunFile, readRunFile } from './run-files.ts';

export interface CatalogRelease {
  document: ReleaseDocument;
  contentHash: string;
}

export interface CatalogRun extends RunFile {
  name: string;
  /** Where it stands, for a fault that shows when it is made. */
  file: string;
  contentHash: string;
}

/** What git says there is to be. */
export interface Catalog {
  releases: readonly CatalogRelease[];
  runs: readonly CatalogRun[];
  faults: readonly CatalogFault[];
  /** Models and runs whose files do not hold. `all`: it cannot be told which ones: none is taken away. */
  kept: { releases: ReadonlySet<string> | 'all'; runs: ReadonlySet<string> | 'all' };
}

/** Makes sense of a catalog's texts. One that does not hold leaves the others alone. */
export function parseCatalog(texts: readonly CatalogText[], readRun: ReadRun): Catalog {
  const releases: CatalogRelease[] = [];
  const runs: CatalogRun[] = [];
  const faulty: (CatalogFile & { message: string })[] = [];
  for (const one of readCatalogFiles(texts)) {
    const { file, name, document } = one;
    if (!document.ok || name === undefined) {
      faulty.push({ ...one, message: document.ok ? 'has no name' : document.message });
      continue;
    }
    const contentHash = hashContent(document.value);
    if (one.kind === 'release') {
      const reading = readReleaseFile(document.value);
      if (reading.ok) releases.push({ document: reading.value, contentHash });
      else faulty.push({ ...one, message: reading.message });
    } else {
      const reading = readRunFile(name, document.value as object, readRun);
      if (reading.ok) runs.push({ ...reading.value, name, file, contentHash });
      else faulty.push({ ...one, message: reading.message });
    }
  }
  const faults = faulty.map(({ file, message }) => ({ file, message: message.slice(0, 1000) }));
  return {
    releases,
    runs,
    faults,
    kept: { releases: keptOf('release', faulty), runs: keptOf('run', faulty) },
  };
}

/** SHA-256, hex, of the canonical JSON of a document as it was written. */
export function hashContent(document: unknown): string {
  return createHash('sha256').update(canonicalJson(document)).digest('hex');
}

function keptOf(kind: CatalogFile['kind'], faulty: readonly CatalogFile[]): ReadonlySet<string> | 'all' {
  const names = faulty.filter((file) => file.kind === kind).map(({ name }) => name);
  return names.includes(undefined) ? 'all' : new Set(names.filter((name) => name !== undefined));
}
