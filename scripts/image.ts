/**
 * npm run image: bundles what the image runs into infra/docker/dist. The Dockerfile does it by itself.
 *
 * Usage: image [--out FOLDER] [--metafile FILE]
 */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle } from './image/bundle.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { out: { type: 'string' }, metafile: { type: 'string' } } });
const folder = resolve(values.out ?? join(root, 'infra/docker/dist'));
const metafile = await bundle({ root, folder });
if (values.metafile) await writeFile(values.metafile, JSON.stringify(metafile));
const bytes = Object.values(metafile.outputs).reduce((sum, output) => sum + output.bytes, 0);
console.log(`image: ${(bytes / 1e6).toFixed(1)} MB of JavaScript in ${folder}`);
