import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { CommandError, run } from '../commands.ts';
import { type Kubectl, type KubeObject, NAMESPACE } from '../kubectl.ts';
import { crds, root } from '../places.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';

/** The API server itself says whether an object is valid: schema, defaults, admission and all. */
export const serverSideDryRun: Step<Scene> = {
  name: 'every manifest of every environment passes the dry run of the API server',
  independent: true,
  async run({ cluster: { kubectl }, repository, signal, say }) {
    const manifests = join(repository.folder, 'infra', 'manifests');
    const objects = (await readObjects(manifests)).filter(({ kind }) => kind !== 'Kustomization');
    await fetchCrds(signal, say);
    const before = await knownKinds(kubectl);
    await applyCrds(kubectl, new Set(objects.map(kindOf).filter((kind) => !before.has(kind))));
    const known = await knownKinds(kubectl);
    const asked = objects.filter((one) => known.has(kindOf(one)));
    await createNamespaces(kubectl, asked);
    const faults: string[] = [];
    for (const batch of batches(asked, 25)) faults.push(...(await dryRun(kubectl, batch)));
    if (faults.length > 0) throw new Error(faults.join('\n'));
    const unknown = new Set(objects.filter((one) => !known.has(kindOf(one))).map(kindOf));
    const left = unknown.size > 0 ? `; no CRD could be had for ${[...unknown].join(', ')}` : '';
    return `${asked.length} of ${objects.length} objects of ${new Set(asked.map(kindOf)).size} kinds${left}`;
  },
};

/** Where CRDs come from is said in scripts/crds.ts; without a network those of an earlier time serve. */
async function fetchCrds(signal: AbortSignal, say: (line: string) => void): Promise<void> {
  const script = join(root, 'scripts', 'crds.ts');
  if (!existsSync(script)) return;
  await run(process.execPath, [script], { signal, timeoutMs: 300_000 }).catch((error: Error) =>
    say(`    ${error.message}`),
  );
}

/** Those that are wanted and no more: every one costs the API server a while. */
async function applyCrds(kubectl: Kubectl, wanted: ReadonlySet<string>): Promise<void> {
  const all = (await readObjects(crds)).filter(({ kind }) => kind === 'CustomResourceDefinition');
  const definitions = all.filter((one) => definedKinds(one).some((kind) => wanted.has(kind)));
  if (definitions.length === 0) return;
  // A webhook that converts between versions is not here; the versions that are served have to do.
  for (const one of definitions) delete one.spec!.conversion;
  for (const batch of batches(definitions, 5)) await kubectl.apply(batch);
  const names = definitions.map(({ metadata }) => `crd/${metadata.name}`);
  // One that was only just made has no conditions at all, which is an error to kubectl.
  const established = () => kubectl(['wait', '--for=condition=Established', ...names, '--timeout=10s']);
  await waitFor('the CRDs are established', established, { seconds: 120 });
}

function definedKinds({ spec }: KubeObject): string[] {
  const { group, names, versions } = spec as {
    group: string;
    names: { kind: string };
    versions: { name: string }[];
  };
  return versions.map(({ name }) => `${group}/${name}/${names.kind}`);
}

async function knownKinds(kubectl: Kubectl): Promise<Set<string>> {
  const lines = (await kubectl(['api-resources', '--no-headers'])).trim().split('\n');
  return new Set(
    lines.map((line) => line.trim().split(/\s+/).slice(-3)).map(([version, , kind]) => `${version}/${kind}`),
  );
}

function kindOf({ apiVersion, kind }: KubeObject): string {
  return `${apiVersion}/${kind}`;
}

async function readObjects(folder: string): Promise<KubeObject[]> {
  if (!existsSync(folder)) return [];
  const names = await readdir(folder, { recursive: true });
  const files = names.filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  const documents = texts.flatMap((text) =>
    parseAllDocuments(text).map((document) => document.toJS() as KubeObject),
  );
  return documents.filter((one) => one?.kind);
}

/** What lies in a namespace that is not there cannot be tried. */
async function createNamespaces(kubectl: Kubectl, objects: readonly KubeObject[]): Promise<void> {
  const names = new Set(objects.map(({ metadata }) => metadata.namespace ?? NAMESPACE));
  for (const name of names) {
    if (await kubectl.find('namespace', name)) continue;
    await kubectl.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
}

async function dryRun(kubectl: Kubectl, batch: readonly KubeObject[]): Promise<string[]> {
  try {
    await kubectl.apply(batch, '--dry-run=server', '--field-manager=dry-run');
    return [];
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return error.output.split('\n').filter((line) => /error|invalid|forbidden/i.test(line));
  }
}

function batches<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}
