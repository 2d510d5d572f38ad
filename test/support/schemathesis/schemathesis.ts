import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const VERSION = '4.32.5';
const hooks = fileURLToPath(new URL('hooks.py', import.meta.url));
const run = promisify(execFile);

/** What is to be looked at in an answer; other checks guess at what the document means. */
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
];

export interface FuzzOptions {
  /** Where the API is; its document is fetched from there. */
  url: string;
  headers: Record<string, string>;
  /** Ids of objects that exist, by the names of path parameters. */
  known: Record<string, string>;
  /** Generated for each operation, beside those that the document's bounds give. */
  examples: number;
  seed: number;
  /** It is ended after so long, and has failed. */
  timeoutMs: number;
  /** Operations whose answers do not end. */
  without: readonly string[];
}

export interface FuzzResult {
  ok: boolean;
  cases: number;
  output: string;
}

/**
 * The folder of a Python environment with Schemathesis, made at the first time below ~/.cache/fededge. Rejects with the
 * reason where there is no Python, or no package index.
 */
export async function prepareSchemathesis(): Promise<string> {
  const cache = join(homedir(), '.cache', 'fededge');
  const { stdout } = await run('python3', ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])']);
  const target = join(cache, `schemathesis-${VERSION}-python${stdout.trim()}`);
  if (existsSync(target)) return target;
  await mkdir(cache, { recursive: true });
  // Beside it first: an environment is there as a whole or not at all. Its programs are started by `-m` alone, for their
  // own first lines name the folder that they were installed in.
  const building = await mkdtemp(`${target}-`);
  try {
    await run('python3', ['-m', 'venv', building]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
    await run(pythonOf(building), [...pip, `schemathesis==${VERSION}`], { timeout: 300_000 });
    await rename(building, target).catch((error) => {
      if (!existsSync(target)) throw error;
    });
    return target;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

/** Whether the tests may do without it: not in a workflow of GitHub, whose machines have Python and a package index. */
export function mayBeMissing({ CI, GITHUB_ACTIONS }: NodeJS.ProcessEnv): boolean {
  return CI !== 'true' || GITHUB_ACTIONS !== 'true';
}

/** Sends generated requests, good and bad ones, to every operation that the document has. */
export async function fuzz(environment: string, options: FuzzOptions): Promise<FuzzResult> {
  const { url, headers, known, examples, seed, timeoutMs: timeout, without } = options;
  const folder = await mkdtemp(join(tmpdir(), 'fededge-schemathesis-'));
  // One worker: parsing Python in two threads fails now and then ("AST constructor recursion depth mismatch", CPython 3.11).
  const args = [
    ...['-c', 'from schemathesis.cli import schemathesis; schemathesis()', 'run', `${url}/openapi.json`],
    ...Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
    ...without.flatMap((id) => ['--exclude-operation-id', id]),
    ...['--checks', CHECKS.join(','), '--phases', 'examples,coverage,fuzzing', '--mode', 'all'],
    ...['--max-examples', String(examples), '--seed', String(seed), '--workers', '1'],
    ...['--request-timeout', '20', '--warnings', 'off', '--no-color', '--generation-database', 'none'],
  ];
  try {
    const told = { FEDEDGE_KNOWN: JSON.stringify(known), FEDEDGE_SEED: String(seed) };
    const env = { ...process.env, SCHEMATHESIS_HOOKS: hooks, ...told };
    const { ok, output } = await run(pythonOf(environment), args, {
      cwd: folder,
      env,
      timeout,
      maxBuffer: 1 << 28,
    }).then(
      ({ stdout, stderr }) => ({ ok: true, output: stdout + stderr }),
      (error: { stdout?: string; stderr?: string; message: string; killed?: boolean }) => ({
        ok: false,
        output: `${error.stdout || error.stderr || error.message}${error.killed ? '\nended: it took too long' : ''}`,
      }),
    );
    return { ok, output, cases: Number(/(\d+) generated/.exec(output)?.[1] ?? 0) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function pythonOf(environment: string): string {
  return join(environment, 'bin', 'python');
}
