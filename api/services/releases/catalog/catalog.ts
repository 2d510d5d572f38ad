import { createHash } from 'node:crypto';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import type { ReleaseDocument } from '../../../domain/release.ts';
import { type CatalogFile, type FileReading, readCatalogFiles } from './catalog-files.ts';
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
    const reading = readEntry(one, readRun);
    if (!reading.ok) faulty.push({ ...one, message: reading.message });
    else if ('document' in reading.value) releases.push(reading.value);
    else runs.push(reading.value);
  }
  const faults = faulty.map(({ file, message }) => ({ file, message }));
  return {
    releases,
    runs,
    faults,
    kept: { releases: keptOf('release', faulty), runs: keptOf('run', faulty) },
  };
}

function readEntry(
  { kind, file, name, document }: CatalogFile,
  readRun: ReadRun,
): FileReading<CatalogRelease | CatalogRun> {
  if (!document.ok) return document;
  if (name === undefined) return { ok: false, message: 'has no name' };
  const contentHash = hashOf(document.value);
  if (contentHash === undefined)
    return { ok: false, message: 'is nested too deeply, or has a key __proto__' };
  if (kind === 'release') {
    const release = readReleaseFile(document.value);
    return release.ok ? { ok: true, value: { document: release.value, contentHash } } : release;
  }
  const run = readRunFile(name, document.value as object, readRun);
  return run.ok ? { ok: true, value: { ...run.value, name, file, contentHash } } : run;
}

/** Undefined for what no reader may be given: schemas pass over `__proto__`, and labels without it mean everybody. */
function hashOf(document: unknown): string | undefined {
  try {
    return canonicalJson(document).includes('"__proto__":') ? undefined : hashContent(document);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** SHA-256, hex, of the canonical JSON of a document as it was written. */
export function hashContent(document: unknown): string {
  return createHash('sha256').update(canonicalJson(document)).digest('hex');
}

function keptOf(kind: CatalogFile['kind'], faulty: readonly CatalogFile[]): ReadonlySet<string> | 'all' {
  const names = faulty.filter((file) => file.kind === kind).map(({ name }) => name);
  return names.includes(undefined) ? 'all' : new Set(names.filter((name) => name !== undefined));
}
