import { Document, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import type { ReleaseFile } from './release-file.ts';

type Key = keyof ReleaseFile;

/** The order that people read in. */
const ORDER: readonly Key[] = [
  'model',
  'version',
  'channel',
  'source',
  'digest',
  'previous',
  'salt',
  'cohorts',
  'gate',
  'bakeSeconds',
];

/** Members to set; null takes one away. What is not named stays as it is. */
export type ReleaseChanges = { [K in Key]?: NonNullable<ReleaseFile[K]> | null };

/** The text of a release file with changes. Comments and whatever else is in it stay. */
export function editRelease(text: string | undefined, changes: ReleaseChanges): string {
  const document = text === undefined ? new Document({}) : parseDocument(text);
  if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
  const map = document.contents as unknown as YAMLMap;
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) document.delete(key);
    else if (value !== undefined && !isEqual(map.toJSON()[key], value))
      document.set(key, compact(document.createNode(value)));
  }
  const place = (key: string) => (ORDER.includes(key as Key) ? ORDER.indexOf(key as Key) : ORDER.length);
  map.items.sort((a, b) => place(String(a.key)) - place(String(b.key)));
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** Short lists and labels on one line. */
function compact<T>(node: T, depth = 0): T {
  if (isSeq(node)) {
    const isFlat = node.items.every((item) => !isMap(item) && !isSeq(item));
    if (isFlat) node.flow = true;
    for (const item of node.items) compact(item, depth + 1);
  } else if (isMap(node)) {
    for (const pair of node.items) {
      if (isMap(pair.value)) pair.value.flow = true;
      compact(pair.value, depth + 1);
    }
  }
  return node;
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
