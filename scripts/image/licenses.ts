import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

export interface BundledPackage {
  name: string;
  version: string;
  license: string;
  /** Its folder below the root: two versions of a package are two packages. */
  folder: string;
}

/** The packages of which something is in a bundle, by folder. */
export async function bundledPackages(root: string, { outputs }: Metafile): Promise<BundledPackage[]> {
  const inputs = Object.values(outputs).flatMap((output) =>
    Object.entries(output.inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([path]) => path),
  );
  const folders = new Set(inputs.flatMap((path) => folderOf(path) ?? []));
  const packages = [...folders].sort().map(async (folder) => {
    const { name, version, license } = JSON.parse(
      await readFile(join(root, folder, 'package.json'), 'utf8'),
    ) as Record<string, string>;
    return { name: name!, version: version!, license: license ?? 'NOASSERTION', folder };
  });
  return Promise.all(packages);
}

function folderOf(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
}

/** The licences of what is in a bundle, whole: most ask that they go where the code goes. */
export async function collectLicenses(root: string, metafile: Metafile): Promise<string> {
  const packages = await bundledPackages(root, metafile);
  const texts = packages.map(async ({ name, version, license, folder }) => {
    const files = (await readdir(join(root, folder)))
      .filter((file) => /^(licen[cs]e|notice)/i.test(file))
      .sort();
    const parts = await Promise.all(files.map((file) => readFile(join(root, folder, file), 'utf8')));
    return [`${name} ${version} (${license})`, ...parts.map((part) => part.trim())].join('\n\n');
  });
  return `${(await Promise.all(texts)).join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
