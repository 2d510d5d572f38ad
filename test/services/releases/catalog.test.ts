import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { readRun } from '../../../api/http/schemas/runs.ts';
import { hashContent, parseCatalog } from '../../../api/services/releases/catalog/catalog.ts';
import {
  CatalogUnreadableError,
  createCatalogReader,
} from '../../../api/services/releases/catalog/catalog-folder.ts';
import { readReleaseFile } from '../../../api/services/releases/catalog/release-files.ts';

const fixtures = join(import.meta.dirname, '../../fixtures/releases');
const digest = `sha-256:${'ab'.repeat(32)}`;
const names = (await readdir(fixtures)).filter((name) => name.endsWith('.yaml'));
const catalogOf = (files: Record<string, string>) =>
  parseCatalog(
    Object.entries(files).map(([file, text]) => ({ file, text })),
    readRun,
  );

describe('a release file', () => {
  it.each(names)('%s is judged as it says', async (name) => {
    const text = await readFile(join(fixtures, name), 'utf8');
    const [, place] = /^# (?:valid|faulty at (.+))$/m.exec(text) ?? [];
    const model = /^model: ([a-z]+)$/m.exec(text)?.[1] ?? 'mnist';
    const { releases, faults, kept } = catalogOf({ [`models/${model}.yaml`]: text });
    if (place === undefined) {
      expect(faults).toEqual([]);
      expect(releases).toMatchObject([{ contentHash: hashContent(parse(text)), document: { model } }]);
      return;
    }
    expect(releases).toEqual([]);
    expect(kept.releases).toEqual(new Set([model]));
    expect(faults).toHaveLength(1);
    if (place !== 'the document') expect(faults[0]!.message).toMatch(new RegExp(`^${place}(\\.|:)`));
  });

  it('has its defaults filled in', () => {
    expect(readReleaseFile({ model: 'm', version: 7, digest })).toEqual({
      ok: true,
      value: {
        model: 'm',
        version: 7,
        digest: 'ab'.repeat(32),
        cohorts: [{ name: 'everyone', labels: {}, percent: [100] }],
        bakeSeconds: 0,
      },
    });
  });

  it('names a key that it does not know', () => {
    expect(readReleaseFile({ model: 'm', channel: 'head', gates: {} })).toMatchObject({
      ok: false,
      message: expect.stringContaining('gates'),
    });
  });

  it.each([
    ['a label with NUL', { cohorts: [{ name: 'a', labels: { site: ['a\0'] }, percent: [100] }] }],
    ['a name with half a surrogate', { cohorts: [{ name: '\ud800', percent: [100] }] }],
    ['the version as the one before', { previous: 7 }],
    ['both bounds', { gate: { metric: 'a', atLeast: 0, atMost: 1, reports: 1 } }],
  ])('is refused with %s', (_name, rest) => {
    expect(readReleaseFile({ model: 'm', version: 7, digest, ...rest }).ok).toBe(false);
  });
});

describe('a catalog', () => {
  const run = 'model: m\nrounds: 3\n';

  it('is the same from files and from catalog.json', () => {
    const files = catalogOf({ 'models/m.yaml': 'model: m\nchannel: head\n', 'runs/nightly.yaml': run });
    const models = [{ channel: 'head', model: 'm' }];
    const runs = [{ rounds: 3, name: 'nightly', model: 'm' }];
    const bundle = catalogOf({ 'catalog.json': JSON.stringify({ models, runs }) });
    const seed = expect.anything();
    expect(files.releases).toEqual(bundle.releases);
    expect(files.runs).toMatchObject([
      { name: 'nightly', cron: undefined, request: { name: 'nightly', settings: { rounds: 3 } } },
    ]);
    expect({ ...files.runs[0], file: seed }).toEqual({ ...bundle.runs[0], file: seed });
    expect(files.faults).toEqual([]);
  });

  it('keeps what a faulty file is about', () => {
    const { releases, runs, faults, kept } = catalogOf({
      'models/good.yaml': 'model: good\nchannel: head\n',
      'models/cut.yaml': 'model: cut\nchannel: [hea',
      'models/other.yaml': 'model: m\nchannel: head\n',
      'runs/bad.yaml': 'model: m\nround: 3\n',
      'runs/named.yaml': `${run}name: other\n`,
      'runs/scheduled.yaml': `${run}schedule: { cron: "61 * * * *" }\n`,
      'runs/never.yaml': `${run}schedule: { cron: "0 0 30 2 *" }\n`,
      'runs/good.yaml': `${run}schedule: { cron: "0 2 * * *" }\n`,
    });
    expect(releases.map(({ document }) => document.model)).toEqual(['good']);
    expect(runs.map(({ name, cron }) => [name, cron])).toEqual([['good', '0 2 * * *']]);
    expect(kept).toEqual({
      releases: new Set(['cut', 'other']),
      runs: new Set(['bad', 'named', 'scheduled', 'never']),
    });
    expect(faults.map(({ file }) => file).sort()).toEqual([
      'models/cut.yaml',
      'models/other.yaml',
      'runs/bad.yaml',
      'runs/named.yaml',
      'runs/never.yaml',
      'runs/scheduled.yaml',
    ]);
    expect(faults.find(({ file }) => file === 'runs/bad.yaml')?.message).toContain('round');
  });

  it('takes neither of two files about one thing', () => {
    const text = 'model: m\nchannel: head\n';
    const { releases, kept } = catalogOf({ 'models/m.yaml': text, 'models/m.yml': text });
    expect(releases).toEqual([]);
    expect(kept.releases).toEqual(new Set(['m']));
  });

  it('takes nothing away while an entry does not tell what it is about', () => {
    const models = [{ version: 7 }, { model: 'm', channel: 'head' }];
    const { releases, faults, kept } = catalogOf({ 'catalog.json': JSON.stringify({ models }) });
    expect(releases).toHaveLength(1);
    expect(faults).toMatchObject([{ file: 'catalog.json#models.0' }]);
    expect(kept).toEqual({ releases: 'all', runs: new Set() });
  });

  it.each(['{"models":', '[]', 'null', '{"models":{}}', '{"runs":1}', '{"model":[]}', ''])(
    'cannot be read from catalog.json with %s',
    (text) => {
      expect(() => catalogOf({ 'catalog.json': text })).toThrow(CatalogUnreadableError);
    },
  );
});

describe('a hostile catalog', () => {
  const sound = 'model: m\nchannel: head\n';

  it.each([
    ['deeper than a stack', `model: bad\nchannel: ${'['.repeat(3000)}${']'.repeat(3000)}\n`],
    ['with a key of all objects', 'model: bad\nchannel: head\n__proto__: { version: 1 }\n'],
    [
      'with a label that schemas pass over',
      'model: bad\nchannel: head\ncohorts: [{ name: a, labels: { __proto__: [lab] }, percent: [100] }]\n',
    ],
    ['cut short', 'model: bad\nchannel: head\nbakeSeconds: 6'],
    [
      'that multiplies itself',
      `model: bad\na: &a [1]\n${[...'bcdefgh'].map((k, i) => `${k}: &${k} [${Array(9).fill(`*${'abcdefg'[i]}`)}]\n`).join('')}`,
    ],
  ])('has a file %s, and the others are taken', (_name, bad) => {
    const { releases, faults, kept } = catalogOf({ 'models/bad.yaml': bad, 'models/m.yaml': sound });
    expect(releases.map(({ document }) => document.model)).toEqual(['m']);
    expect(faults).toMatchObject([{ file: 'models/bad.yaml' }]);
    expect(kept.releases).toEqual(new Set(['bad']));
  });

  it('has an entry deeper than a stack, and the others are taken', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const { releases, faults } = catalogOf({
      'catalog.json': `{"models":[{"model":"bad","x":${deep}},{"model":"m","channel":"head"}]}`,
    });
    expect(releases).toHaveLength(1);
    expect(faults).toMatchObject([{ file: 'catalog.json#models.0' }]);
  });

  it('has more entries than are looked at', () => {
    const models = Array.from({ length: 300_000 }, () => ({ model: 'm' }));
    const read = () => catalogOf({ 'catalog.json': JSON.stringify({ models }) });
    expect(read).toThrow(CatalogUnreadableError);
  });

  it('does not show what a file holds that is no catalog', () => {
    const read = () => catalogOf({ 'catalog.json': 'root:secret' });
    expect(read).toThrow(/^is no JSON$/);
  });
});

describe('the folder', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fededge-catalog-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const write = async (file: string, text: string) => {
    await mkdir(join(folder, file, '..'), { recursive: true });
    await writeFile(join(folder, file), text);
  };

  it('is read as it lies there, without what is no document', async () => {
    await write('models/b.yaml', 'b');
    await write('models/a.yml', 'a');
    await write('models/README.md', 'no');
    await write('models/.a.yaml.swp', 'no');
    await write('settings.ts', 'no');
    await write('runs/r.yaml', 'r');
    expect(await createCatalogReader(folder)()).toEqual([
      { file: 'models/a.yml', text: 'a' },
      { file: 'models/b.yaml', text: 'b' },
      { file: 'runs/r.yaml', text: 'r' },
    ]);
    await write('catalog.json', '{}');
    expect(await createCatalogReader(folder)()).toEqual([{ file: 'catalog.json', text: '{}' }]);
  });

  it('follows the links of a mounted ConfigMap', async () => {
    await write('..2026/catalog.json', '{"runs":[]}');
    await symlink('..2026', join(folder, '..data'));
    await symlink('..data/catalog.json', join(folder, 'catalog.json'));
    expect(await createCatalogReader(folder)()).toEqual([{ file: 'catalog.json', text: '{"runs":[]}' }]);
  });

  it('is looked at until it stays as it is: a file that is being replaced is not gone', async () => {
    await write('models/m.yaml', 'old');
    const read = createCatalogReader(folder);
    await read();
    await rm(join(folder, 'models/m.yaml'));
    const reading = read();
    await write('models/m.yaml', 'new');
    expect(await reading).toEqual([{ file: 'models/m.yaml', text: 'new' }]);
  });

  it('that cannot be read says so, and so does a file in it alone', async () => {
    await expect(createCatalogReader(join(folder, 'none'))()).rejects.toThrow('ENOENT');
    await expect(createCatalogReader(folder)()).rejects.toThrow(CatalogUnreadableError);
    await mkdir(join(folder, 'models/dir.yaml'), { recursive: true });
    await write('models/m.yaml', 'model: m\nchannel: head\n');
    const { releases, faults } = parseCatalog(await createCatalogReader(folder)(), readRun);
    expect(releases).toHaveLength(1);
    expect(faults).toEqual([{ file: 'models/dir.yaml', message: 'is no file' }]);
  });

  it('is no way to other files, and waits for no pipe', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'fededge-outside-'));
    await writeFile(join(outside, 'secret.yaml'), 'model: m\nchannel: head\n');
    await write('models/m.yaml', 'model: m\nchannel: head\n');
    await symlink(join(outside, 'secret.yaml'), join(folder, 'models/link.yaml'));
    await symlink('/dev/zero', join(folder, 'models/zero.yaml'));
    await symlink('loop.yaml', join(folder, 'models/loop.yaml'));
    execFileSync('mkfifo', [join(folder, 'models/pipe.yaml')]);
    await write('models/long.yaml', `model: long\nchannel: head\n#${'x'.repeat(65_536)}\n`);
    const { releases, faults } = parseCatalog(await createCatalogReader(folder)(), readRun);
    await rm(outside, { recursive: true });
    expect(releases.map(({ document }) => document.model)).toEqual(['m']);
    expect(faults).toEqual([
      { file: 'models/link.yaml', message: 'is a link out of the catalog' },
      { file: 'models/long.yaml', message: 'is longer than 65536 bytes' },
      { file: 'models/loop.yaml', message: 'cannot be read (ELOOP)' },
      { file: 'models/pipe.yaml', message: 'is no file' },
      { file: 'models/zero.yaml', message: 'is a link out of the catalog' },
    ]);
  });

  it('with thousands of files, or of more than a few megabytes, is not read', async () => {
    const text = `model: m\n#${'x'.repeat(60_000)}\n`;
    await Promise.all(Array.from({ length: 150 }, (_, k) => write(`models/m${k}.yaml`, text)));
    await expect(createCatalogReader(folder)()).rejects.toThrow('longer than');
    await Promise.all(Array.from({ length: 1001 }, (_, k) => write(`models/m${k}.yaml`, '')));
    await expect(createCatalogReader(folder)()).rejects.toThrow('more than 1000 files');
  });

  it('that is unchanged is the same to the last object', async () => {
    await write('models/m.yaml', 'model: m\n');
    const read = createCatalogReader(folder);
    const first = await read();
    expect(await read()).toBe(first);
    await write('models/m.yaml', 'model: n\n');
    expect(await read()).not.toBe(first);
  });
});
