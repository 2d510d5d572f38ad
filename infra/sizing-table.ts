/**
 * Writes the table of infra/README.md anew, from infra/sizing.ts.
 *
 *   node infra/sizing-table.ts
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceTable } from './sizing-markdown.ts';

const path = join(import.meta.dirname, 'README.md');
await writeFile(path, replaceTable(await readFile(path, 'utf8')));
