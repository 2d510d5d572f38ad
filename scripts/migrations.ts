/**
 * Writes the migrations that bring the database to `api/store/schema.ts`: `npm run migrations -- NAME`.
 * `--check` exits with 1 if the committed ones do not.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../api/store/migrations', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));

function listFiles(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
}

const name = process.argv.find((argument, index) => index > 1 && !argument.startsWith('-')) ?? 'change';
const before = process.argv.includes('--check') ? listFiles() : undefined;
const { status } = spawnSync(
  'drizzle-kit',
  [
    'generate',
    '--dialect',
    'postgresql',
    '--schema',
    'api/store/schema.ts',
    '--out',
    relative(root, folder),
    '--name',
    name,
  ],
  { cwd: root, stdio: 'inherit' },
);
if (status !== 0) process.exit(status ?? 1);
if (before && before.join() !== listFiles().join()) {
  console.error('The schema has changed: run `npm run migrations` and commit what it writes.');
  process.exit(1);
}
