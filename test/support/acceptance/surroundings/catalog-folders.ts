import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A folder of release and run files, as a checkout of a repository. */
export interface CatalogFolder {
  /** What a server needs to read it. */
  env: Record<string, string>;
  /** Writes a file: text as it is, anything else as JSON, which is YAML. */
  write(file: string, content: object | string): Promise<void>;
  remove(file: string): Promise<void>;
  close(): Promise<void>;
}

export async function createCatalogFolder(): Promise<CatalogFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-catalog-'));
  for (const name of ['models', 'runs']) await mkdir(join(folder, name));
  return {
    env: { FEDEDGE_CATALOG: folder, FEDEDGE_CATALOG_SECONDS: '1' },
    async write(file, content) {
      const path = join(folder, file);
      await mkdir(dirname(path), { recursive: true });
      const text = typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`;
      await writeFile(path, text);
    },
    remove: (file) => rm(join(folder, file)),
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
