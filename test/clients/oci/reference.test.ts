import { describe, expect, it } from 'vitest';
import { formatReference, parseReference } from '../../../clients/oci/index.ts';
import { registryUrl } from '../../../clients/oci/reference.ts';

const digest = `sha256:${'a'.repeat(64)}`;

describe('parseReference', () => {
  it.each([
    ['oci://ghcr.io/fededge/mnist', { registry: 'ghcr.io', repository: 'fededge/mnist' }],
    ['localhost/mnist:7', { registry: 'localhost', repository: 'mnist', tag: '7' }],
    ['[::1]:5000/a/b', { registry: '[::1]:5000', repository: 'a/b' }],
    [`r.example:5000/m@${digest}`, { registry: 'r.example:5000', repository: 'm', digest }],
    [`r.example/m:7@${digest}`, { registry: 'r.example', repository: 'm', tag: '7', digest }],
  ])('reads %s', (text, reference) => {
    expect(parseReference(text)).toEqual(reference);
  });

  it.each([
    'mnist',
    'fededge/mnist',
    'ghcr.io/',
    'ghcr.io/Upper/case',
    'ghcr.io/a/../b',
    'ghcr.io/a:b:c',
    'ghcr.io/a@sha256:short',
    'user@ghcr.io/a',
    'ghcr.io/a?x=1',
    'https://ghcr.io/a',
  ])('refuses %s', (text) => {
    expect(parseReference(text)).toBeUndefined();
  });

  it('is undone by formatReference; a digest needs no tag', () => {
    expect(formatReference(parseReference('ghcr.io/a/b:7')!)).toBe('ghcr.io/a/b:7');
    expect(formatReference(parseReference(`ghcr.io/a/b:7@${digest}`)!)).toBe(`ghcr.io/a/b@${digest}`);
  });
});

it.each([
  ['127.0.0.1:5000', 'http://127.0.0.1:5000/v2/'],
  ['localhost', 'http://localhost/v2/'],
  ['[::1]:5000', 'http://[::1]:5000/v2/'],
  ['localhost.example', 'https://localhost.example/v2/'],
  ['127.0.0.1.example:80', 'https://127.0.0.1.example:80/v2/'],
])('speaks to %s at %s', (registry, url) => {
  expect(registryUrl(registry)).toBe(url);
});
