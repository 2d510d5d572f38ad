import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

interface Entry {
  version: string;
  resolved?: string;
  integrity?: string;
  hasInstallScript?: boolean;
  inBundle?: boolean;
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));
const manifest = read('package.json') as Record<string, Record<string, string | boolean>>;
const { packages } = read('package-lock.json') as { packages: Record<string, Entry> };
const installed = Object.entries(packages).filter(([path]) => path !== '');
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

/** Below these versions there are published vulnerabilities. */
const floors: Record<string, string> = {
  hono: '4.13.7',
  '@hono/node-server': '2.0.10',
  'drizzle-orm': '0.45.2',
  jose: '6.0.0',
  node: '24.14.1',
};

function isAtLeast(version: string, floor: string): boolean {
  const [a, b] = [version, floor].map((text) => text.split('.').map(Number));
  const index = a!.findIndex((part, i) => part !== b![i]);
  return index < 0 || a![index]! > b![index]!;
}

describe('what is installed', () => {
  it.each(Object.entries(floors))('%s is %s or newer, wherever it is', (name, floor) => {
    const versions = installed.filter(([path]) => nameOf(path) === name).map(([, { version }]) => version);
    expect(versions).not.toEqual([]);
    expect(versions.filter((version) => !isAtLeast(version, floor))).toEqual([]);
  });

  it('is pinned to exact versions', () => {
    const groups = [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies];
    const loose = groups.flatMap((group) => Object.entries(group!)).filter(([, v]) => !/^\d/.test(String(v)));
    expect(loose).toEqual([]);
  });

  it('has a digest for every package, and comes from the public registry', () => {
    // What a package bundles lies in its own file, and under its digest.
    const fetched = installed.filter(([, { inBundle }]) => !inBundle);
    expect(fetched.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))).toEqual([]);
    const elsewhere = installed.filter(([, { resolved }]) => {
      return resolved !== undefined && !resolved.startsWith('https://registry.npmjs.org/');
    });
    expect(elsewhere).toEqual([]);
  });

  it('runs an install script only where package.json says so', () => {
    const withScript = installed.filter(([, entry]) => entry.hasInstallScript).map(([path]) => nameOf(path));
    expect(withScript.filter((name) => !(name in manifest.allowScripts!))).toEqual([]);
  });

  it('brings the Node that the package `node` names, for each platform that has it', () => {
    const node = manifest.dependencies!.node;
    const platforms = Object.entries(manifest.optionalDependencies!).filter(([name]) =>
      name.startsWith('node-'),
    );
    expect(platforms.length).toBeGreaterThan(0);
    expect(platforms.filter(([, version]) => version !== node)).toEqual([]);
  });
});
