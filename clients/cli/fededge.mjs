#!/usr/bin/env node
/**
 * The command `fededge`. Plain JavaScript for whatever Node the machine has (20 or later): it makes the installation
 * ready and goes on in the Node 24 that comes with it, as `npm run fededge --` does.
 */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const setup = spawnSync(process.execPath, [at('../../scripts/setup.mjs')], { stdio: ['ignore', 2, 2] });
if (setup.status !== 0) process.exit(setup.status ?? 1);

const node = at('../../node_modules/.bin/node');
const child = spawn(node, [at('main.ts'), ...process.argv.slice(2)], { stdio: 'inherit' });
// The terminal sends Ctrl-C to both: the child decides when to end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => signal !== 'SIGINT' && child.kill(signal));
}
child.once('error', (error) => {
  process.stderr.write(`fededge: ${node} does not start (${error.code})\n`);
  process.exitCode = 1;
});
child.once('exit', (code, signal) => {
  process.exitCode = code ?? 1;
  if (signal) process.exitCode = 130;
});
