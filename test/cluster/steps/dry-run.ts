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
    const objects = await readManifests(manifests);
    await fetchCrds(signal, say);
    const before = await knownKinds(kubectl);
    await applyCrds(kubectl, new Set(objects.map(kindOf).filter((kind) => !before.has(kind))));
    const known = await knownKinds(kubectl);
    const asked = objects.filter((one) => known.has(kindOf(one)));
    const pods = asked.flatMap(podOf);
    await prepareNamespaces(kubectl, asked);
    const faults: string[] = [];
    for (const batch of batches([...asked, ...pods], 25)) faults.push(...(await dryRun(kubectl, batch)));
    if (faults.length > 0) throw new Error(faults.join('\n'));
    const unknown = new Set(objects.filter((one) => !known.has(kindOf(one))).map(kindOf));
    const left = unknown.size > 0 ? `; no CRD could be had for ${[...unknown].join(', ')}` : '';
    return `${asked.length} of ${objects.length} objects of ${new Set(asked.map(kindOf)).size} kinds, and ${pods.length} pods of their templates under Pod Security${left}`;
  },
};

/** Each environment in a namespace of its own: what is there already (dev) could not become what another one says. */
async function readManifests(folder: string): Promise<KubeObject[]> {
  const environments = await readdir(folder);
  const all = await Promise.all(
    environments.map(async (environment) => {
      const objects = await readObjects(join(folder, environment));
      return objects.filter(({ kind }) => kind !== 'Kustomization').map((one) => moved(one, environment));
    }),
  );
  return all.flat();
}

function moved(object: KubeObject, environment: string): KubeObject {
  const { metadata, kind } = object;
  const own = `dry-run-${environment}`;
  if (kind === 'Namespace') return { ...object, metadata: { ...metadata, name: own } };
  if (metadata.namespace === NAMESPACE) return { ...object, metadata: { ...metadata, namespace: own } };
  if (kind === 'PersistentVolume')
    return { ...object, metadata: { ...metadata, name: `${own}-${metadata.name}` } };
  return object;
}

/** A workload is let in with a warning where its pods would be refused: they are tried too. */
function podOf({ kind, metadata, spec }: KubeObject): KubeObject[] {
  const template = spec?.template as { metadata?: object; spec?: { containers?: unknown } } | undefined;
  if (!template?.spec?.containers) return [];
  const { name, namespace } = metadata;
  return [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...template.metadata,
        name: `${name}-${kind?.toLowerCase()}`,
        ...(namespace && { namespace }),
      },
      spec: template.spec,
    },
  ];
}

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

/** Namespaces, with their labels, and what pods name are really made: without them nothing in them can be tried. */
async function prepareNamespaces(kubectl: Kubectl, objects: readonly KubeObject[]): Promise<void> {
  const wanted = new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []));
  const described = new Map(
    objects.filter(({ kind }) => kind === 'Namespace').map((one) => [one.metadata.name, one]),
  );
  for (const name of wanted) {
    if (await kubectl.find('namespace', name)) continue;
    await kubectl.apply(described.get(name) ?? { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
  const isOurs = ({ kind, metadata }: KubeObject) =>
    kind === 'ServiceAccount' && metadata.namespace?.startsWith('dry-run-');
  const accounts = objects.filter(isOurs);
  if (accounts.length > 0) await kubectl.apply(accounts);
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
