import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canonicalJson as serverCanonicalJson } from '../../../api/domain/canonical-json.ts';
import { readRun } from '../../../api/http/schemas/runs.ts';
import { parseCatalog } from '../../../api/services/releases/catalog/catalog.ts';
import { canonicalJson } from '../../../infra/catalog/canonical-json.ts';
import { readCatalogFolder } from '../../../infra/catalog/catalog-files.ts';
import { contentHash } from '../../../infra/catalog/content-hash.ts';

const digest = `sha-256:${'ab'.repeat(32)}`;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-catalog-'));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (file: string, text: string) => writeFile(join(folder, file), text);

describe('release files', () => {
  test('are read as they are written, by name', async () => {
    await write('b.yaml', 'model: b\nchannel: head\n');
    await write(
      'a.yaml',
      `model: a\nversion: 7\ndigest: ${digest}\ncohorts:\n- {name: all, percent: [5, 100]}\n`,
    );
    await write('notes.txt', 'not a release');

    expect(await readCatalogFolder(folder, 'release')).toEqual([
      {
        name: 'a',
        document: { model: 'a', version: 7, digest, cohorts: [{ name: 'all', percent: [5, 100] }] },
      },
      { name: 'b', document: { model: 'b', channel: 'head' } },
    ]);
  });

  test('need not be there', async () => {
    expect(await readCatalogFolder(join(folder, 'none'), 'release')).toEqual([]);
  });

  test.each([
    ['an unknown key', 'model: a\nchannel: head\ncohort: []', /a\.yaml: .*cohort/],
    [
      'two ways to a version',
      `model: a\nversion: 1\nchannel: head\ndigest: ${digest}`,
      /a\.yaml: exactly one/,
    ],
    ['no way to a version', 'model: a', /a\.yaml: exactly one/],
    ['a version without its digest', 'model: a\nversion: 1', /a\.yaml: digest: demanded/],
    ['a digest of the head', `model: a\nchannel: head\ndigest: ${digest}`, /a\.yaml: digest/],
    ['another kind of digest', 'model: a\nversion: 1\ndigest: md5:00', /a\.yaml: digest/],
    ['another model than the file’s', 'model: b\nchannel: head', /a\.yaml: model: the file of b is b\.yaml/],
    [
      'more than all',
      'model: a\nchannel: head\ncohorts: [{name: x, percent: [101]}]',
      /a\.yaml: cohorts\.0\.percent/,
    ],
    ['a gate without a bound', 'model: a\nchannel: head\ngate: {metric: loss, reports: 3}', /a\.yaml: gate/],
    ['a source by tag', `model: a\ndigest: ${digest}\nsource: {oci: "r.example/m:1"}`, /a\.yaml: source/],
    ['no YAML', 'model: [', /a\.yaml/],
    ['no mapping', '- model', /a\.yaml/],
  ])('with %s are refused, by file and key', async (_, text, fault) => {
    await write('a.yaml', `${text}\n`);

    await expect(readCatalogFolder(folder, 'release')).rejects.toThrow(fault);
  });
});

describe('the files that the server judges as they say', async () => {
  const fixtures = join(import.meta.dirname, '../../fixtures/releases');
  const files = (await readdir(fixtures)).map((file) => [file] as const);

  test.each(files)('%s', async (file) => {
    const text = await readFile(join(fixtures, file), 'utf8');
    const [, place] = /^# (?:valid|faulty at (.+))$/m.exec(text) ?? [];
    const name = /^model: ([a-z]+)$/m.exec(text)?.[1] ?? 'mnist';
    await write(`${name}.yaml`, text);
    const reading = readCatalogFolder(folder, 'release');

    if (place === undefined) {
      const [found] = parseCatalog([{ file: `models/${name}.yaml`, text }], readRun).releases;
      expect((await reading).map(({ document }) => contentHash(document))).toEqual([found?.contentHash]);
      expect(found?.contentHash).toMatch(/^[0-9a-f]{64}$/);
    } else {
      await expect(reading).rejects.toThrow(place === 'the document' ? `${name}.yaml` : place);
    }
  });
});

describe('run files', () => {
  test('keep what the server checks, and must not name themselves', async () => {
    await write('nightly.yaml', 'model: a\nrounds: 3\nschedule: {cron: "0 2 * * *"}\n');
    expect(await readCatalogFolder(folder, 'run')).toEqual([
      { name: 'nightly', document: { model: 'a', rounds: 3, schedule: { cron: '0 2 * * *' } } },
    ]);

    await write('nightly.yaml', 'model: a\nname: other\n');
    await expect(readCatalogFolder(folder, 'run')).rejects.toThrow(/nightly\.yaml: name/);
  });
});

describe('content hash', () => {
  const documents = [
    { model: 'mnist', version: 7, digest, cohorts: [{ percent: [5, 25, 100], name: 'everyone' }] },
    { b: [1, 2.5, null, true], a: 'ü "quoted" \n', ä: {}, Z: [] },
  ];

  test.each(documents)('is over the same text as the server’s', (document) => {
    expect(canonicalJson(document)).toBe(serverCanonicalJson(document));
  });

  test('does not depend on the order of keys, and is the one that is known', () => {
    expect(contentHash({ model: 'mnist', channel: 'head' })).toBe(
      contentHash({ channel: 'head', model: 'mnist' }),
    );
    // printf '{"channel":"head","model":"mnist"}' | sha256sum
    expect(contentHash({ model: 'mnist', channel: 'head' })).toBe(
      '6ab2e91ebe8da24ce833bfcaf97364ec2f3fd9209c02c641afe3e80f8c057091',
    );
  });
});
