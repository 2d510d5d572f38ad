import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readRun } from '../../../api/http/schemas/runs.ts';
import { parseCatalog } from '../../../api/services/releases/catalog/catalog.ts';
import { editRelease } from '../../../clients/cli/releases/release-edit.ts';
import { readRelease } from '../../../clients/cli/releases/release-file.ts';

const folder = new URL('../../fixtures/releases/', import.meta.url);
const fixtures = readdirSync(folder).map((name) => {
  const text = readFileSync(new URL(name, folder), 'utf8');
  const [, verdict = ''] = /^# (valid|faulty at .*)$/m.exec(text) ?? [];
  return { name, text, verdict };
});

/** As the server reads a file, under the name of its model. */
function isValidToServer(text: string): boolean {
  const model = /^model: ([a-z]+)$/m.exec(text)?.[1] ?? 'mnist';
  return parseCatalog([{ file: `models/${model}.yaml`, text }], readRun).faults.length === 0;
}

describe.each(fixtures)('$name is $verdict', ({ text, verdict }) => {
  it('to the command', () => {
    const reading = readRelease(text);
    if (reading.ok) return expect(verdict).toBe('valid');
    const keys = reading.faults.map(({ key }) => key || 'the document');
    const wanted = verdict.replace('faulty at ', '');
    expect(keys.some((key) => key === wanted || key.startsWith(`${wanted}.`))).toBe(true);
  });

  it('to the server', () => {
    expect(isValidToServer(text)).toBe(verdict === 'valid');
  });
});

it('has fixtures of both kinds', () => {
  expect(fixtures.filter(({ verdict }) => verdict === 'valid').length).toBeGreaterThan(5);
  expect(fixtures.filter(({ verdict }) => verdict.startsWith('faulty')).length).toBeGreaterThan(25);
});

describe('editRelease', () => {
  const digest = `sha-256:${'0'.repeat(64)}`;

  it('writes a new file in the order that people read', () => {
    const cohorts = [{ name: 'canary', labels: { site: ['lab'] }, percent: [5, 100] }];
    const text = editRelease(undefined, { cohorts, digest, previous: 6, version: 7, model: 'mnist' });
    expect(text).toBe(
      [
        'model: mnist',
        'version: 7',
        `digest: ${digest}`,
        'previous: 6',
        'cohorts:',
        '  - name: canary',
        '    labels: {site: [lab]}',
        '    percent: [5, 100]',
        '',
      ].join('\n'),
    );
  });

  it('keeps comments and what it is not told about', () => {
    const before = '# the lab first\nmodel: mnist\nchannel: head # for now\nbakeSeconds: 60 # a minute\n';
    expect(editRelease(before, { channel: null, version: 7, digest })).toBe(
      `# the lab first\nmodel: mnist\nversion: 7\ndigest: ${digest}\nbakeSeconds: 60 # a minute\n`,
    );
  });

  it('touches nothing where nothing changes', () => {
    const before = 'cohorts: [ { name: all,   percent: [ 5 ] } ]\nmodel: mnist\nchannel: head\n';
    expect(readRelease(editRelease(before, { model: 'mnist', channel: 'head' }))).toEqual(
      readRelease(before),
    );
  });
});
