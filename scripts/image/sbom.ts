import { createHash } from 'node:crypto';
import { type LockedPackage, type Lockfile, nameOf, resolveLocked, sha512Of } from './lockfile.ts';

export interface SbomInput {
  /** The product itself. */
  product: { name: string; version: string; license: string };
  lockfile: Lockfile;
  /** Folders of the packages that the image contains, as the lockfile names them. */
  folders: readonly string[];
  /** ISO 8601. */
  createdAt: string;
}

/**
 * What an image contains, as CycloneDX 1.6 JSON (ECMA-424): every package with its version, licence and the digest of its
 * archive, and which needs which. The same input gives the same document. Throws on a package that is not locked.
 */
export function createSbom({ product, lockfile, folders, createdAt }: SbomInput) {
  const contained = folders.map((folder) => {
    const locked = lockfile.get(folder);
    if (!locked) throw new Error(`${folder} is in the image but not in the lockfile`);
    return { folder, locked, ref: purl(nameOf(folder), locked.version) };
  });
  const refs = new Map(contained.map(({ folder, ref }) => [folder, ref]));
  const own = purl(product.name, product.version);
  const needs = (folder: string) => {
    const names = Object.keys(dependenciesOf(lockfile.get(folder)!));
    const found = names.map((name) => refs.get(resolveLocked(lockfile, folder, name) ?? ''));
    return [...new Set(found.filter((ref) => ref !== undefined))].sort();
  };
  const components = contained.map(({ folder, locked, ref }) => component(folder, locked, ref));
  const dependencies = [
    { ref: own, dependsOn: needs('') },
    ...contained.map(({ folder, ref }) => ({ ref, dependsOn: needs(folder) })),
  ];
  const body = {
    metadata: {
      timestamp: createdAt,
      lifecycles: [{ phase: 'build' }],
      component: {
        type: 'application',
        'bom-ref': own,
        name: product.name,
        version: product.version,
        licenses: [{ license: { id: product.license } }],
        purl: own,
      },
    },
    components: unique(components, (one) => one['bom-ref']),
    dependencies: unique(dependencies, ({ ref }) => ref),
  };
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX' as const,
    specVersion: '1.6' as const,
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(body))}`,
    version: 1,
    ...body,
  };
}

function component(folder: string, locked: LockedPackage, ref: string) {
  const name = nameOf(folder);
  const [group, rest] = name.startsWith('@') ? name.split('/') : [undefined, name];
  const digest = sha512Of(locked);
  return {
    type: 'library',
    'bom-ref': ref,
    ...(group !== undefined && { group }),
    name: rest!,
    version: locked.version,
    scope: 'required',
    ...(digest !== undefined && { hashes: [{ alg: 'SHA-512', content: digest }] }),
    ...(locked.license !== undefined && { licenses: [licenseOf(locked.license)] }),
    purl: ref,
  };
}

/** A single identifier or an expression of SPDX. */
function licenseOf(license: string) {
  return /^[A-Za-z0-9.+-]+$/.test(license) ? { license: { id: license } } : { expression: license };
}

function dependenciesOf({ dependencies, optionalDependencies, peerDependencies }: LockedPackage) {
  return { ...dependencies, ...optionalDependencies, ...peerDependencies };
}

/** https://github.com/package-url/purl-spec: the scope is a namespace, its @ is encoded. */
function purl(name: string, version: string): string {
  return `pkg:npm/${name.replace(/^@/, '%40')}@${encodeURIComponent(version)}`;
}

function unique<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [keyOf(item), item])).values()];
}

/** A version 8 UUID (RFC 9562) of a text. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
