import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { rememberCluster, startProgram, stopCluster } from '../../support/acceptance/programs.ts';

const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

/** The blocks of the tour, in their order. */
function tour(): string {
  const [, chapter = ''] = readme.split('## A tour in five minutes');
  const blocks = chapter.split('\n## ')[0]!.matchAll(/```sh\n(.*?)```/gs);
  return [...blocks].map(([, block]) => block).join('\n');
}

async function runShell(program: string, cwd: string) {
  const shell = spawn('bash', ['-euo', 'pipefail', '-c', program], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [printed, said, [code]] = await Promise.all([
    text(shell.stdout),
    text(shell.stderr),
    once(shell, 'close') as Promise<[number]>,
  ]);
  return { code, printed, said };
}

it('the tour does what it says, word by word', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-tour-'));
  await chmod(folder, 0o755);
  const dataDir = join(folder, '.data');
  rememberCluster(dataDir);
  const server = startProgram(['api/server.ts', '--port', '0', '--data-dir', dataDir, '--json'], {});
  try {
    const { url } = JSON.parse(await server.firstLine()) as { url: string };
    const { code, printed, said } = await runShell(tour().replace('http://127.0.0.1:8080', url), folder);
    // A server on a busy machine may tell curl to come again, which curl tells us before it does.
    expect(said.replaceAll(/^curl: \(22\) .* error: 503\n/gm, '')).toBe('');
    expect(code).toBe(0);
    expect(printed).toContain('"accepted"');
    expect(printed.trim().split('\n').at(-1)!.trim().split(/\s+/).map(Number)).toEqual([0.5, -1, 0.25, 2]);
  } finally {
    await server.stop();
    await stopCluster(dataDir);
    await rm(folder, { recursive: true, force: true });
  }
});
