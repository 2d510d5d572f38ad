import { readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import type { Plugin } from 'esbuild';

/** A file or folder that the source finds at run time, and its name beside the bundle. */
interface Asset {
  source: string;
  name: string;
}

export interface Assets {
  plugin: Plugin;
  /** What the source that was bundled finds by URL; complete when the build has ended. */
  found(): Asset[];
}

/** `new URL('./x', import.meta.url)`: how our source names what is read, or started as a thread, at run time. */
const REFERENCE = /new URL\(\s*'(\.{1,2}\/[^']+)',\s*import\.meta\.url\s*\)/g;

/**
 * Collects what our source finds beside itself, and lets the bundle find it beside itself. A thread's source becomes the
 * name of its own bundle. Throws if two different things would get one name.
 */
export function createAssets(root: string): Assets {
  const sources = new Map<string, string>();
  const place = (source: string): string => {
    const name = basename(source).replace(/\.ts$/, '.js');
    const other = sources.get(name);
    if (other !== undefined && other !== source)
      throw new Error(`${other} and ${source}: both would be ${name}`);
    sources.set(name, source);
    return name;
  };
  const plugin: Plugin = {
    name: 'assets',
    setup(build) {
      const ours = new RegExp(`^${quoted(join(root, sep))}(api|clients|scripts)/.*\\.ts$`);
      build.onLoad({ filter: ours }, async ({ path }) => {
        const text = await readFile(path, 'utf8');
        const contents = text.replace(REFERENCE, (_, reference: string) => {
          const name = place(resolve(dirname(path), reference));
          return `new URL('./${name}', import.meta.url)`;
        });
        return { contents, loader: 'ts' };
      });
    },
  };
  return { plugin, found: () => [...sources].map(([name, source]) => ({ name, source })) };
}

function quoted(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
