import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../api/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'fededge-oidc-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = {
  issuer: 'https://login.example.org/realms/fl',
  audience: 'fededge',
  roleClaim: 'realm_access.roles',
  roles: { 'fl-admin': 'operator', 'fl-reader': 'viewer' },
};
const load = (issuers: unknown, env: Record<string, string> = {}) =>
  loadConfig({
    ...env,
    FEDEDGE_OIDC_ISSUERS: typeof issuers === 'string' ? issuers : JSON.stringify(issuers),
  });

function faultsOf(issuers: unknown, env: Record<string, string> = {}): readonly string[] {
  try {
    load(issuers, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

describe('FEDEDGE_OIDC_ISSUERS', () => {
  it('is nobody by default', () => {
    expect(loadConfig({}).oidcIssuers).toEqual([]);
  });

  it('takes JSON, with what can be guessed left out', () => {
    expect(load([good]).oidcIssuers).toEqual([
      {
        issuer: good.issuer,
        audience: 'fededge',
        jwksUri: undefined,
        algorithms: ['RS256', 'ES256'],
        roleClaim: ['realm_access', 'roles'],
        roles: [
          ['fl-admin', 'operator'],
          ['fl-reader', 'viewer'],
        ],
        federation: 'default',
        maxTokenAgeSeconds: 7200,
      },
    ]);
  });

  it('takes the path of a file', () => {
    const path = join(folder, 'issuers.json');
    writeFileSync(path, JSON.stringify([good]));
    expect(load(path)).toEqual(load([good]));
  });

  it('takes a claim whose name has dots as a list of names', () => {
    const [issuer] = load([{ ...good, roleClaim: ['https://fl.example.org/roles'] }]).oidcIssuers;
    expect(issuer!.roleClaim).toEqual(['https://fl.example.org/roles']);
  });

  it.each<[string, unknown]>([
    ['what is neither JSON nor a file', 'no-such-file.json'],
    ['JSON that breaks off', '[{"issuer":'],
    ['an object', { issuers: [good] }],
    ['an issuer over http (RFC 8414 2)', [{ ...good, issuer: 'http://login.example.org' }]],
    ['keys over http (RFC 8725 3.10)', [{ ...good, jwksUri: 'http://login.example.org/jwks' }]],
    ['keys in a file', [{ ...good, jwksUri: 'file:///etc/jwks.json' }]],
    ['an issuer with a query (RFC 8414 2)', [{ ...good, issuer: `${good.issuer}?x=1` }]],
    ['an issuer with credentials', [{ ...good, issuer: 'https://user:pass@login.example.org' }]],
    ['no algorithm at all (RFC 8725 3.1)', [{ ...good, algorithms: ['none'] }]],
    ['a secret that verifies (RFC 8725 2.1)', [{ ...good, algorithms: ['RS256', 'HS256'] }]],
    ['an empty list of algorithms', [{ ...good, algorithms: [] }]],
    ['an empty audience (RFC 8725 3.9)', [{ ...good, audience: '' }]],
    ['a role that there is not', [{ ...good, roles: { x: 'admin' } }]],
    ['no roles', [{ ...good, roles: {} }]],
    ['a misspelt setting', [{ ...good, audiences: ['fededge'] }]],
    ['the same issuer twice', [good, good]],
    ['tokens of more than a day', [{ ...good, maxTokenAgeSeconds: 100_000 }]],
  ])('refuses %s', (_, issuers) => {
    const faults = faultsOf(issuers);
    expect(faults.length).toBeGreaterThan(0);
    for (const fault of faults) expect(fault).toMatch(/^FEDEDGE_OIDC_ISSUERS: /);
  });

  it('refuses our own URL as an issuer: what signs for devices signs for no operator (RFC 8725 3.8)', () => {
    const env = { FEDEDGE_PUBLIC_URL: `${good.issuer}/` };
    expect(faultsOf([good], env)).toHaveLength(1);
    expect(faultsOf([good], { FEDEDGE_PUBLIC_URL: 'https://fl.example.org' })).toEqual([]);
  });

  it('names its faults together with those of others, and repeats no value', () => {
    const faults = faultsOf(
      [{ ...good, issuer: 'https://user:hunter2@login.example.org', algorithms: ['x'] }],
      {
        FEDEDGE_PORT: '99999',
      },
    );
    expect(faults).toHaveLength(3);
    expect(faults.join()).not.toContain('hunter2');
  });

  it('takes http on this machine, for trying out', () => {
    expect(load([{ ...good, issuer: 'http://127.0.0.1:8081/realms/fl' }]).oidcIssuers).toHaveLength(1);
  });
});
