/**
 * Makes project, robot accounts and replication in Harbor; again and again with the same result.
 *
 *   node infra/harbor/main.ts --config FILE [--secrets-to FOLDER] [--renew ROBOT]...
 *
 * FILE is JSON: {"url", "username", "password", "project": "fededge", "robots": {"ci": ["pull", "push"], "edge": ["pull"]},
 * "sites": {"site-a": {"url", "username", "password"}}}. A new robot's secret goes to FOLDER/<robot>.json, for its owner
 * alone to read; without a folder it is printed.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { setUp } from './set-up.ts';

const login = {
  url: z.url({ protocol: /^https?$/ }),
  username: z.string().min(1),
  password: z.string().min(1),
};
const configuration = z.strictObject({
  ...login,
  project: z
    .string()
    .regex(/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/)
    .default('fededge'),
  robots: z
    .record(z.string().regex(/^[a-z0-9-]+$/), z.array(z.enum(['pull', 'push'])).min(1))
    .default({ ci: ['pull', 'push'], edge: ['pull'] }),
  sites: z.record(z.string().regex(/^[a-z0-9-]+$/), z.strictObject(login)).default({}),
});

const { values } = parseArgs({
  options: {
    config: { type: 'string' },
    'secrets-to': { type: 'string' },
    renew: { type: 'string', multiple: true, default: [] },
  },
});
if (!values.config) throw new Error('--config FILE is missing');
const { url, username, password, project, robots, sites } = configuration.parse(
  JSON.parse(await readFile(values.config, 'utf8')),
);
const others = Object.entries(sites).map(([name, { url: address, ...who }]) => [
  name,
  { url: address, login: who },
]);
const wanted = { project, robots, sites: Object.fromEntries(others) };
const folder = values['secrets-to'];

for (const step of await setUp({ url, login: { username, password } }, wanted, { renew: values.renew })) {
  console.log(`${step.outcome.padEnd(10)}${step.what}`);
  if (!step.login) continue;
  const text = JSON.stringify({ registry: new URL(url).host, ...step.login });
  if (folder) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, `${step.login.username.split('+').at(-1)}.json`), text, { mode: 0o600 });
  } else console.log(`          ${text}`);
}
