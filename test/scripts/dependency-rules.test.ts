import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Files, what each imports, and the rule that it breaks; undefined: it is as it should be. */
const files: [path: string, imports: string, breaks?: string][] = [
  ['api/domain/pure.ts', './tensors.ts'],
  ['api/domain/tensors.ts', ''],
  ['api/domain/reads-files.ts', 'node:fs', 'domain-is-pure'],
  ['api/domain/validates.ts', 'zod', 'domain-is-pure'],
  ['api/domain/stores.ts', '../store/rows.ts', 'domain-is-pure'],
  ['api/store/rows.ts', 'drizzle-orm'],
  ['api/store/tells.ts', '../services/story.ts', 'store-knows-domain-alone'],
  ['api/kernels/asks.ts', '../store/rows.ts', 'kernels-and-ml-implement-domain'],
  ['api/services/story.ts', '../store/rows.ts'],
  ['api/services/queries.ts', 'drizzle-orm', 'drizzle-and-postgres-in-store'],
  ['api/services/answers.ts', '../http/route.ts', 'services-do-not-know-http'],
  ['api/services/trains.ts', '@tensorflow/tfjs-core', 'tensorflow-in-ml'],
  ['api/services/first.ts', './second.ts', 'no-cycles'],
  // A circle is reported once.
  ['api/services/second.ts', './first.ts'],
  ['api/services/tests.ts', 'vitest', 'no-development-packages-in-the-server'],
  ['api/services/scripts.ts', '../../scripts/tool.ts', 'what-ships-does-not-need-what-builds'],
  ['api/services/guesses.ts', './not-there.ts', 'nothing-that-is-not-there'],
  ['api/http/route.ts', 'hono'],
  ['api/http/starts.ts', '../server.ts', 'http-does-not-know-the-roots'],
  ['api/server.ts', './http/route.ts'],
  ['api/routes.ts', 'hono', 'hono-in-http'],
  ['clients/typescript/codec.ts', '../../api/domain/tensors.ts'],
  ['clients/typescript/shortcut.ts', '../../api/services/story.ts', 'clients-speak-http'],
  ['infra/catalog/release-file.ts', ''],
  ['clients/typescript/rolls-out.ts', '../../infra/catalog/release-file.ts', 'clients-speak-http'],
  ['clients/cli/rolls-out.ts', '../../infra/catalog/release-file.ts'],
  ['clients/cli/renders.ts', '../../infra/chart.ts', 'the-command-knows-release-files'],
  ['clients/cli/shortcut.ts', '../../api/services/story.ts', 'the-command-knows-release-files'],
  ['infra/chart.ts', '../api/domain/tensors.ts', 'infra-and-acceptance-stand-apart'],
  ['test/acceptance/peeks.test.ts', '../../api/domain/tensors.ts', 'infra-and-acceptance-stand-apart'],
  ['scripts/tool.ts', '../api/domain/tensors.ts'],
];

interface Violation {
  from: string;
  rule: { name: string };
}

let folder: string;
let violations: Violation[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-rules-'));
  for (const [path, imports] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    const use = imports && `import * as used from '${imports}';\nconsole.log(used);\n`;
    await writeFile(join(folder, path), `${use}export {};\n`);
  }
  for (const name of ['package.json', 'scripts/tsconfig.json', 'scripts/dependency-rules.mjs']) {
    await cp(join(root, name), join(folder, name));
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const folders = ['api', 'clients', 'infra', 'scripts', 'test'];
  const args = ['--config', 'scripts/dependency-rules.mjs', '--output-type', 'json', ...folders];
  const { stdout, stderr } = spawnSync('node_modules/.bin/depcruise', args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (!stdout) throw new Error(stderr);
  violations = (JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(files)('%s, which imports %j, breaks %s', (path, _, rule) => {
  const broken = violations.filter(({ from }) => from === path).map((violation) => violation.rule.name);
  expect(broken).toEqual(rule ? [rule] : []);
});
