import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Lockfile, resolveLocked } from '../../scripts/image/lockfile.ts';
import { createSbom } from '../../scripts/image/sbom.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Sbom {
  specVersion: string;
  serialNumber: string;
  metadata: { component: { 'bom-ref': string } };
  components: {
    'bom-ref': string;
    name: string;
    version: string;
    purl: string;
    hashes: { alg: string; content: string }[];
    licenses: unknown[];
  }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

let folder: string;
let sbom: Sbom;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fededge-sbom-test-'));
  execFileSync(process.execPath, ['scripts/sbom.ts', '--out', folder], { cwd: root });
  sbom = JSON.parse(readFileSync(join(folder, 'sbom.cdx.json'), 'utf8')) as Sbom;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('lists what the bundle contains, and not what builds or tests it', () => {
  const names = sbom.components.map(({ purl }) => purl.split('@')[0]);
  for (const name of ['hono', 'drizzle-orm', 'postgres', 'pino', 'zod', 'jose']) {
    expect(names).toContain(`pkg:npm/${name}`);
  }
  for (const name of ['esbuild', 'vitest', 'typescript', 'drizzle-kit', 'cdk8s']) {
    expect(names).not.toContain(`pkg:npm/${name}`);
  }
});

it('has a licence and a digest for every package', () => {
  expect(sbom.components.length).toBeGreaterThan(20);
  for (const { purl, hashes, licenses } of sbom.components) {
    expect(licenses, purl).toHaveLength(1);
    expect(hashes, purl).toEqual([{ alg: 'SHA-512', content: expect.stringMatching(/^[0-9a-f]{128}$/) }]);
  }
});

it('is a CycloneDX 1.6 document whose references hold', () => {
  expect(sbom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 });
  expect(sbom.serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const refs = [sbom.metadata.component['bom-ref'], ...sbom.components.map((one) => one['bom-ref'])];
  expect(new Set(refs).size).toBe(refs.length);
  expect(sbom.dependencies.map(({ ref }) => ref).sort()).toEqual([...refs].sort());
  for (const { dependsOn } of sbom.dependencies) for (const ref of dependsOn) expect(refs).toContain(ref);
  const own = sbom.dependencies.find(({ ref }) => ref === refs[0])!;
  expect(own.dependsOn.some((ref) => ref.startsWith('pkg:npm/hono@'))).toBe(true);
});

it('tells how the image came to be, as SLSA provenance v1', () => {
  const provenance = JSON.parse(readFileSync(join(folder, 'provenance.json'), 'utf8')) as {
    buildDefinition: { resolvedDependencies: { uri: string; digest?: Record<string, string> }[] };
  };
  expect(provenance).toMatchObject({
    buildDefinition: {
      buildType: expect.stringMatching(/^https:/),
      externalParameters: { target: 'fededge', dockerfile: 'infra/docker/Dockerfile' },
    },
    runDetails: { builder: { id: expect.any(String) }, metadata: { startedOn: expect.any(String) } },
  });
  const { resolvedDependencies } = provenance.buildDefinition;
  expect(resolvedDependencies[0]!.digest).toEqual({ gitCommit: expect.stringMatching(/^[0-9a-f]{40}$/) });
  expect(resolvedDependencies).toHaveLength(sbom.components.length + 2);
});

const lockfile: Lockfile = new Map([
  ['', { version: '1.0.0', dependencies: { a: '1', b: '1' } }],
  ['node_modules/a', { version: '1.0.0', dependencies: { '@s/b': '2' }, license: 'MIT' }],
  ['node_modules/a/node_modules/@s/b', { version: '2.0.0', license: '(MIT OR Apache-2.0)' }],
  ['node_modules/@s/b', { version: '1.0.0', license: 'MIT' }],
]);

it('finds packages as Node does: the nearest one', () => {
  expect(resolveLocked(lockfile, 'node_modules/a', '@s/b')).toBe('node_modules/a/node_modules/@s/b');
  expect(resolveLocked(lockfile, 'node_modules/a/node_modules/@s/b', 'a')).toBe('node_modules/a');
  expect(resolveLocked(lockfile, '', '@s/b')).toBe('node_modules/@s/b');
  expect(resolveLocked(lockfile, '', 'c')).toBeUndefined();
});

it('refuses what is in the image and not in the lockfile; the same input gives the same document', () => {
  const product = { name: 'p', version: '1.0.0', license: 'MIT' };
  const folders = ['node_modules/a', 'node_modules/a/node_modules/@s/b'];
  const make = (names: string[]) =>
    createSbom({ product, lockfile, folders: names, createdAt: '2026-01-01T00:00:00.000Z' });
  expect(make(folders)).toEqual(make(folders));
  expect(make(folders).dependencies).toContainEqual({
    ref: 'pkg:npm/a@1.0.0',
    dependsOn: ['pkg:npm/%40s/b@2.0.0'],
  });
  expect(make(folders).components[1]!.licenses).toEqual([{ expression: '(MIT OR Apache-2.0)' }]);
  expect(() => make(['node_modules/c'])).toThrow('node_modules/c');
});
