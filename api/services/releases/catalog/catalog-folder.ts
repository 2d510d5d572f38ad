import { createHash } from 'node:crypto';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A file of the catalog as it lies there. */
export interface CatalogText {
  /** Below the folder, with `/`. */
  file: string;
  text: string;
  /** Why it could not be read. */
  fault?: string;
}

/** The catalog cannot be read as a whole: nothing is known about what it holds. */
export class CatalogUnreadableError extends Error {
  readonly file: string;

  constructor(file: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CatalogUnreadableError';
    this.file = file;
  }
}

const BUNDLE = 'catalog.json';
const FOLDERS = ['models', 'runs'];
const YAML = /^[^.].*\.ya?ml$/;
const MAX_FILES = 1000;
const MAX_BUNDLE_BYTES = 4 << 20;
/** YAML is read in time that grows with the square of its keys: a megabyte of them takes minutes. */
const MAX_YAML_BYTES = 64 << 10;
const MAX_TOTAL_BYTES = 8 << 20;
/** A checkout that is being brought up to date looks different after so long. */
const SETTLE_MS = 250;
const MAX_LOOKS = 20;

/**
 * Reads a catalog: `catalog.json`, else `models/*.yaml` and `runs/*.yaml`. What has changed since the last call is read
 * until two looks see the same, so that a file which a checkout is just replacing does not count as taken away. What is
 * unchanged is the same array again. Throws CatalogUnreadableError.
 */
export function createCatalogReader(folder: string): () => Promise<CatalogText[]> {
  let known = '';
  let last: CatalogText[] = [];
  return async () => {
    for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
      const texts = await readTexts(folder);
      const seen = createHash('sha256').update(JSON.stringify(texts)).digest('hex');
      if (seen === known) return last;
      known = seen;
      last = texts;
      await sleep(SETTLE_MS);
    }
    throw new CatalogUnreadableError('.', 'the catalog does not stop changing');
  };
}

async function readTexts(folder: string): Promise<CatalogText[]> {
  const entries = await listFolder(folder, '.');
  if (entries.includes(BUNDLE)) return [await readText(folder, BUNDLE)];
  const folders = FOLDERS.filter((name) => entries.includes(name));
  if (folders.length === 0) {
    throw new CatalogUnreadableError('.', `there is neither ${BUNDLE} nor a folder models or runs`);
  }
  const files: string[] = [];
  for (const name of folders) {
    const found = await listFolder(join(folder, name), name);
    files.push(...found.filter((file) => YAML.test(file)).map((file) => `${name}/${file}`));
  }
  if (files.length > MAX_FILES) throw new CatalogUnreadableError('.', `more than ${MAX_FILES} files`);
  const texts: CatalogText[] = [];
  let length = 0;
  for (const file of files.sort()) {
    const one = await readText(folder, file);
    length += one.text.length;
    if (length > MAX_TOTAL_BYTES) {
      throw new CatalogUnreadableError('.', `the files are longer than ${MAX_TOTAL_BYTES} bytes`);
    }
    texts.push(one);
  }
  return texts;
}

async function listFolder(path: string, name: string): Promise<string[]> {
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    throw new CatalogUnreadableError(name, `the folder cannot be read (${error.code})`, { cause: error });
  });
}

async function readText(folder: string, file: string): Promise<CatalogText> {
  const refuse = (fault: string) => ({ file, text: '', fault });
  try {
    const path = await realpath(join(folder, file));
    // A mounted ConfigMap is links, but none of them leads out of it: who writes the catalog reads no other file by it.
    if (!path.startsWith(`${await realpath(folder)}${sep}`)) return refuse('is a link out of the catalog');
    const about = await stat(path);
    // A pipe or a device would be read for ever.
    if (!about.isFile()) return refuse('is no file');
    const maxBytes = file === BUNDLE ? MAX_BUNDLE_BYTES : MAX_YAML_BYTES;
    return about.size > maxBytes
      ? refuse(`is longer than ${maxBytes} bytes`)
      : { file, text: await readFile(path, 'utf8') };
  } catch (error) {
    return refuse(`cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
