import { parse } from 'yaml';
import { type CatalogText, CatalogUnreadableError } from './catalog-folder.ts';

export type FileReading<T> = { ok: true; value: T } | { ok: false; message: string };

/** A document of the catalog, or why there is none. */
export interface CatalogFile {
  kind: 'release' | 'run';
  /** Where it stands: `models/mnist.yaml`, or `catalog.json#models.0`. */
  file: string;
  /** The model or the run that it is about; undefined where not even that can be read. */
  name: string | undefined;
  /** As it was written. */
  document: FileReading<unknown>;
}

const BUNDLE = 'catalog.json';
const MAX_ENTRIES = 1000;
const kinds = { models: 'release', runs: 'run' } as const;

/** Takes the texts of a catalog apart. Throws CatalogUnreadableError if `catalog.json` is no catalog. */
export function readCatalogFiles(texts: readonly CatalogText[]): CatalogFile[] {
  const files = texts.flatMap((one) => (one.file === BUNDLE ? readBundle(one) : [readYaml(one)]));
  const counts = new Map<string, number>();
  for (const one of files) counts.set(keyOf(one), (counts.get(keyOf(one)) ?? 0) + 1);
  const isTwice = (one: CatalogFile) => one.name !== undefined && counts.get(keyOf(one))! > 1;
  return files.map((one) => (isTwice(one) ? refuse(one, `${one.name} is there twice`) : one));
}

const keyOf = ({ kind, name }: CatalogFile) => `${kind} ${name}`;

function readYaml({ file, text, fault }: CatalogText): CatalogFile {
  const [folder, base = ''] = file.split('/');
  const kind = kinds[folder as keyof typeof kinds];
  const name = base.replace(/\.ya?ml$/, '');
  const one: CatalogFile = { kind, file, name, document: parseYaml(text) };
  if (fault !== undefined) return refuse(one, fault);
  const { document } = one;
  if (!document.ok) return one;
  // Cut short, a file can be sound and yet another one: without its gate, or with 6 for `bakeSeconds: 600`.
  if (!text.endsWith('\n')) return refuse(one, 'does not end with a line break: it may be cut short');
  const { model, name: runName } = document.value as { model?: unknown; name?: unknown };
  if (kind === 'release' && typeof model === 'string' && model !== name) {
    return refuse(one, `model: the file of ${model} is ${model}.yaml`);
  }
  return kind === 'run' && runName !== undefined ? refuse(one, 'name: is the name of the file') : one;
}

function parseYaml(text: string): FileReading<unknown> {
  try {
    const value: unknown = parse(text, { maxAliasCount: 100 });
    return isObject(value) ? { ok: true, value } : { ok: false, message: 'has no keys' };
  } catch (error) {
    return { ok: false, message: (error as Error).message.split('\n', 1)[0]! };
  }
}

function readBundle({ file, text, fault }: CatalogText): CatalogFile[] {
  if (fault !== undefined) throw new CatalogUnreadableError(file, fault);
  let bundle: unknown;
  try {
    bundle = JSON.parse(text);
  } catch (error) {
    // Its message quotes the file.
    throw new CatalogUnreadableError(file, 'is no JSON', { cause: error });
  }
  if (!isObject(bundle)) throw new CatalogUnreadableError(file, 'is no object');
  const { models = [], runs = [], ...others } = bundle;
  const [unknownKey] = Object.keys(others);
  if (unknownKey !== undefined) throw new CatalogUnreadableError(file, `${unknownKey}: unknown key`);
  if (!Array.isArray(models)) throw new CatalogUnreadableError(file, 'models: is no list');
  if (!Array.isArray(runs)) throw new CatalogUnreadableError(file, 'runs: is no list');
  if (models.length + runs.length > MAX_ENTRIES) {
    throw new CatalogUnreadableError(file, `has more than ${MAX_ENTRIES} entries`);
  }
  return [
    ...models.map((value, index) => readEntry('release', `${file}#models.${index}`, value)),
    ...runs.map((value, index) => readEntry('run', `${file}#runs.${index}`, value)),
  ];
}

/** A run is named by its entry here, by its file elsewhere: its content is the same. */
function readEntry(kind: CatalogFile['kind'], file: string, value: unknown): CatalogFile {
  if (!isObject(value))
    return { kind, file, name: undefined, document: { ok: false, message: 'has no keys' } };
  const { name: runName, ...run } = value;
  const name = kind === 'run' ? runName : value.model;
  const document = { ok: true, value: kind === 'run' ? run : value } as const;
  if (typeof name === 'string') return { kind, file, name, document };
  const key = kind === 'run' ? 'name' : 'model';
  return refuse({ kind, file, name: undefined, document }, `${key}: is no text`);
}

function refuse(file: CatalogFile, message: string): CatalogFile {
  return { ...file, document: { ok: false, message } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
