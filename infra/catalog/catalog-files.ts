import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import type { z } from 'zod';
import { canonicalJson } from './canonical-json.ts';
import { release } from './release-file.ts';
import { run } from './run-file.ts';

/** A document as written, under its file's name. */
export interface Named {
  name: string;
  document: Record<string, unknown>;
}

const schemas = { release, run };

/** Reads every *.yaml of a folder, sorted. Throws an error that names the file and what is wrong with it. */
export async function readCatalogFolder(folder: string, kind: keyof typeof schemas): Promise<Named[]> {
  const files = (await readdir(folder).catch(() => [])).filter((file) => file.endsWith('.yaml')).sort();
  return Promise.all(files.map((file) => readDocument(join(folder, file), kind)));
}

async function readDocument(path: string, kind: keyof typeof schemas): Promise<Named> {
  const name = basename(path, '.yaml');
  const text = await readFile(path, 'utf8');
  const document = parseDocument(path, text);
  const { error } = schemas[kind].safeParse(document);
  if (error) throw new Error(`${path}: ${error.issues.map(describe).join('; ')}`);
  if (!text.endsWith('\n')) throw new Error(`${path}: does not end with a line break: it may be cut short`);
  // Schemas pass over it, and labels without it mean everybody.
  if (canonicalJson(document).includes('"__proto__":')) throw new Error(`${path}: __proto__: unknown key`);
  if (kind === 'release' && document.model !== name) {
    throw new Error(`${path}: model: the file of ${document.model} is ${document.model}.yaml`);
  }
  return { name, document };
}

function parseDocument(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

function describe({ path, message }: z.core.$ZodIssue): string {
  return path.length > 0 ? `${path.join('.')}: ${message}` : message;
}
