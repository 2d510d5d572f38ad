import { describe, expect, it } from 'vitest';
import { loadConfig } from '../api/config.ts';
import { warningsOf } from '../api/warnings.ts';

const database = { DATABASE_URL: 'postgres://localhost/fl' };
const url = { FEDEDGE_PUBLIC_URL: 'https://fl.example.org' };
const keys = { FEDEDGE_TOKEN_KEYS: '/run/secrets/token-keys.json' };
const s3 = {
  FEDEDGE_S3_URL: 'https://s3.example.org/models',
  FEDEDGE_S3_ACCESS_KEY_ID: 'id',
  FEDEDGE_S3_SECRET_ACCESS_KEY: 'secret',
};
const warn = (env: Record<string, string>) => warningsOf(loadConfig(env));

describe('warnings at the start', () => {
  it('are none for a server of its own, nor for one on a database that others keep', () => {
    expect(warn({})).toEqual([]);
    expect(warn(database)).toEqual([]);
  });

  it.each([
    ['a worker elsewhere', { ...database, FEDEDGE_WORKER: 'off' }],
    ['blobs in S3', { ...database, ...s3 }],
    ['both', { ...database, ...s3, FEDEDGE_WORKER: 'off' }],
  ])('name what replicas without shared signing keys do: %s', (_, form) => {
    const [warning, ...others] = warn({ ...form, ...url });
    expect(others).toEqual([]);
    expect(warning).toContain('FEDEDGE_TOKEN_KEYS');
    expect(warning).toContain('refuse its access tokens (401)');
    expect(warn({ ...form, ...url, ...keys })).toEqual([]);
  });

  it('name what replicas without one public URL do', () => {
    const warnings = warn({ ...database, ...keys, FEDEDGE_WORKER: 'off' });
    expect(warnings).toEqual([expect.stringContaining('FEDEDGE_PUBLIC_URL')]);
  });

  it('say who cannot reach a server that listens everywhere without a URL', () => {
    expect(warn({ FEDEDGE_HOST: '0.0.0.0' })).toEqual([expect.stringContaining('FEDEDGE_PUBLIC_URL')]);
    expect(warn({ FEDEDGE_HOST: '0.0.0.0', ...url })).toEqual([]);
  });
});
