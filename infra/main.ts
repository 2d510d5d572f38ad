/**
 * Renders infra/environments to infra/manifests, which Argo CD reads.
 *
 *   node infra/main.ts [--environment NAME] [--out FOLDER] [--check]
 *
 * With --check it writes nothing and fails where the folder is not what would be written.
 */
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { findDrift, writeManifests } from './manifest-folder.ts';
import { findPlaceholders } from './placeholders.ts';
import { synthesize } from './synthesis.ts';

const { values } = parseArgs({
  options: {
    environment: { type: 'string' },
    out: { type: 'string', default: join(import.meta.dirname, 'manifests') },
    check: { type: 'boolean', default: false },
  },
});
const manifests = await synthesize(values.environment);
const folder = relative('.', values.out) || '.';

if (values.check) {
  const drift = await findDrift(values.out, manifests, values.environment);
  for (const path of drift) console.error(`${folder}/${path} is not what node infra/main.ts writes`);
  if (drift.length > 0) process.exit(1);
  console.log(`${manifests.size} manifests are up to date`);
} else {
  await writeManifests(values.out, manifests, values.environment);
  console.log(`${manifests.size} manifests written to ${folder}`);
  for (const name of findPlaceholders(manifests)) {
    console.warn(
      `${name} cannot be pulled yet: put a published image's digest into environments/${name}/version.json`,
    );
  }
}
