import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { findDrift, writeManifests } from '../../infra/manifest-folder.ts';
import type { Manifests } from '../../infra/manifest-text.ts';
import { findPlaceholders } from '../../infra/placeholders.ts';
import { synthesize } from '../../infra/synthesis.ts';

const committed = join(import.meta.dirname, '../../infra/manifests');
let manifests: Manifests;
let folder: string;

beforeAll(async () => {
  manifests = await synthesize();
  folder = await mkdtemp(join(tmpdir(), 'fededge-manifests-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('synthesis', () => {
  test('gives what is committed', async () => {
    expect(await findDrift(committed, manifests)).toEqual([]);
  });

  test('gives the same bytes every time', async () => {
    expect([...(await synthesize())]).toEqual([...manifests]);
  });

  test('of one environment gives that one’s files alone', async () => {
    const dev = await synthesize('dev');

    expect([...dev.keys()].every((path) => path.startsWith('dev/'))).toBe(true);
    for (const [path, text] of dev) expect(manifests.get(path)).toBe(text);
  });

  test('names every file of an environment in a kustomization, layer by layer', () => {
    const files = [...manifests.keys()].filter((path) => !path.startsWith('argocd/'));
    const kustomizations = files.filter((path) => path.endsWith('/kustomization.yaml'));
    const named = kustomizations.flatMap((path) => {
      const { resources } = parse(manifests.get(path)!) as { resources: string[] };
      return resources.map((resource) => path.replace('kustomization.yaml', resource));
    });
    const there = files.filter((path) => path.split('/').length === 3 && !kustomizations.includes(path));

    expect(named.filter((path) => path.endsWith('.yaml')).sort()).toEqual(there.sort());
    expect(kustomizations.length).toBeGreaterThan(4 * 4);
  });
});

test('an image that has not been published yet is told by its environment', () => {
  const placeholder = `image: ghcr.io/fededge/fededge@sha256:${'0'.repeat(64)}`;
  const rendered = new Map([
    ['b/server/api.yaml', placeholder],
    ['b/server/worker.yaml', placeholder],
    ['a/server/api.yaml', placeholder],
    ['c/server/api.yaml', placeholder.replace('000', '0a0')],
  ]);
  expect(findPlaceholders(rendered)).toEqual(['a', 'b']);
});

describe('the folder of manifests', () => {
  test('loses files that are not rendered any more', async () => {
    await writeManifests(
      folder,
      new Map([
        ['dev/api.yaml', 'a'],
        ['dev/old.yaml', 'b'],
      ]),
    );
    await writeManifests(folder, new Map([['dev/api.yaml', 'a']]));

    expect(await findDrift(folder, new Map([['dev/api.yaml', 'a']]))).toEqual([]);
  });

  test('shows what was changed, is missing or is too much', async () => {
    await writeManifests(folder, new Map([['dev/api.yaml', 'a']]));
    await writeFile(join(folder, 'dev', 'more.yaml'), '');
    const wanted = new Map([
      ['dev/api.yaml', 'b'],
      ['dev/worker.yaml', 'c'],
    ]);

    expect(await findDrift(folder, wanted)).toEqual(['dev/api.yaml', 'dev/more.yaml', 'dev/worker.yaml']);
  });

  test('of one environment leaves the others alone', async () => {
    await writeManifests(
      folder,
      new Map([
        ['dev/api.yaml', 'a'],
        ['staging/api.yaml', 'b'],
      ]),
    );
    await writeManifests(folder, new Map([['dev/api.yaml', 'c']]), 'dev');

    expect(
      await findDrift(
        folder,
        new Map([
          ['dev/api.yaml', 'c'],
          ['staging/api.yaml', 'b'],
        ]),
      ),
    ).toEqual([]);
  });
});
