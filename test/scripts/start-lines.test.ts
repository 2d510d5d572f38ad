import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readStartLine } from '../../scripts/bench/system/start-lines.ts';

const dockerfile = readFileSync(new URL('../../infra/docker/Dockerfile', import.meta.url), 'utf8');

it('the image starts Node as npm start and npm run worker do', () => {
  const server = readStartLine('start');
  const worker = readStartLine('worker');
  expect(server.args.at(-1)).toBe('api/server.ts');
  expect(worker.args.at(-1)).toBe('api/worker.ts');
  expect(worker).toEqual({ env: server.env, args: [...server.args.slice(0, -1), 'api/worker.ts'] });
  // An image brings what is compiled with it.
  const { NODE_COMPILE_CACHE: _, ...env } = server.env;
  for (const [name, value] of Object.entries(env)) expect(dockerfile).toContain(`\n  ${name}=${value} \\\n`);
  const entry = ['node', ...server.args.slice(0, -1), '/app/fededge.js'];
  expect(dockerfile).toContain(`ENTRYPOINT [${entry.map((part) => `"${part}"`).join(', ')}]`);
});
