import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { pathTemplate } from '../../../scripts/crds/schema-files.ts';
import { prepareSchemas } from '../../../scripts/crds.ts';
import { writtenSchemas } from './written-schemas.ts';

const run = promisify(execFile);
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fededge');
const MODULE = 'github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0';

export interface Kubeconform {
  program: string;
  /** The kinds' own schemas. */
  schemas: string;
}

/** The program, built where it is not yet and Go is, and the schemas. Rejects with what is missing. */
export async function prepareKubeconform(): Promise<Kubeconform> {
  const built = [join(cache, 'cluster', 'bin', 'kubeconform'), join(cache, 'bin', 'kubeconform')];
  const schemas = await prepareSchemas();
  let program = built.find((path) => existsSync(path));
  if (!program) {
    program = built[1]!;
    const env = { ...process.env, GOBIN: dirname(program), CGO_ENABLED: '0' };
    await run('go', ['install', MODULE], { env, cwd: tmpdir() });
  }
  return { program, schemas };
}

interface Result {
  filename: string;
  kind: string;
  name: string;
  status: string;
  msg: string;
}

/** What is wrong with the objects, strictly: a member that no schema names is a fault, and so is a kind without one. */
export async function findFaults(
  { program, schemas }: Kubeconform,
  objects: readonly object[],
): Promise<{ valid: number; faults: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-kubeconform-'));
  try {
    await writeAll(join(folder, 'schemas'), writtenSchemas);
    const list = objects.map((object, index) => [`${index}.json`, object] as const);
    await writeAll(join(folder, 'objects'), new Map(list));
    const locations = [schemas, join(folder, 'schemas', pathTemplate)];
    const { stdout } = await run(
      program,
      [
        '-strict',
        ...['-summary', '-output', 'json'],
        ...locations.flatMap((location) => ['-schema-location', location]),
        join(folder, 'objects'),
      ],
      { maxBuffer: 1e8 },
    ).catch((error: { stdout?: string; message: string }) => {
      if (!error.stdout) throw error;
      return { stdout: error.stdout };
    });
    const { resources, summary } = JSON.parse(stdout) as {
      resources: Result[] | null;
      summary: { valid: number };
    };
    const faults = (resources ?? []).map(
      ({ kind, name, status, msg }) => `${kind}/${name}: ${status}: ${msg}`,
    );
    return { valid: summary.valid, faults };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function writeAll(folder: string, files: ReadonlyMap<string, object>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), JSON.stringify(content));
  }
}
