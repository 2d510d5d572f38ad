/**
 * Writes the contract, `openapi/openapi.json` (3.1) and `openapi/openapi-3.0.json`, from the routes.
 * `--check` writes nothing and exits with 1 if the committed files are not what the routes say.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildDocument } from '../api/http/contract/document.ts';
import { createDocumentApp } from './document-app.ts';

const editions = [
  ['3.1', 'openapi.json'],
  ['3.0', 'openapi-3.0.json'],
] as const;
const check = process.argv.includes('--check');

for (const [edition, name] of editions) {
  const file = fileURLToPath(new URL(`../openapi/${name}`, import.meta.url));
  const text = `${JSON.stringify(buildDocument(createDocumentApp(), edition), null, 2)}\n`;
  if (!check) {
    writeFileSync(file, text);
  } else if (readIfThere(file) !== text) {
    console.error(
      `openapi/${name} is not what the routes say: run \`npm run openapi\` and commit what it writes.`,
    );
    process.exitCode = 1;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
