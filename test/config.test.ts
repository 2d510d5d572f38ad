import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../api/config.ts';

const s3 = {
  FEDEDGE_S3_URL: 'https://s3.example.org/models',
  FEDEDGE_S3_ACCESS_KEY_ID: 'id',
  FEDEDGE_S3_SECRET_ACCESS_KEY: 'secret',
};

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

describe('loadConfig', () => {
  it('needs nothing: an embedded database, files, a worker, this machine alone', () => {
    expect(loadConfig({})).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      dataDir: '.data',
      worker: 'embedded',
      databaseUrl: undefined,
      s3: undefined,
    });
  });

  it('takes an empty variable for one that is not set', () => {
    expect(loadConfig({ DATABASE_URL: '', FEDEDGE_PORT: '' })).toEqual(loadConfig({}));
  });

  it('names every fault at once, by the name of its variable', () => {
    const faults = faultsOf({
      FEDEDGE_PORT: '99999',
      FEDEDGE_LEASE_MS: '0',
      DATABASE_URL: 'mysql://localhost/x',
      FEDEDGE_WORKER: 'sometimes',
      FEDEDGE_S3_URL: 'https://s3.example.org/models',
    });
    const names = ['FEDEDGE_PORT', 'FEDEDGE_LEASE_MS', 'DATABASE_URL', 'FEDEDGE_WORKER', 'FEDEDGE_S3_URL'];
    for (const name of names) expect(faults.filter((fault) => fault.startsWith(name))).toHaveLength(1);
    expect(faults).toHaveLength(names.length);
  });

  it.each(Object.keys(s3))('refuses S3 without %s', (missing) => {
    const { [missing]: _, ...rest } = s3 as Record<string, string>;
    expect(faultsOf(rest)).toHaveLength(1);
  });

  it('takes S3 with its bucket, and not without', () => {
    expect(loadConfig(s3).s3).toEqual({
      url: s3.FEDEDGE_S3_URL,
      region: 'us-east-1',
      accessKeyId: 'id',
      secretAccessKey: 'secret',
      timeoutMs: 20_000,
    });
    expect(faultsOf({ ...s3, FEDEDGE_S3_URL: 'https://s3.example.org' })).toHaveLength(1);
  });

  it('leaves the rounds to other workers only where others can reach the database', () => {
    expect(faultsOf({ FEDEDGE_WORKER: 'off' })).toHaveLength(1);
    expect(faultsOf({ FEDEDGE_WORKER: 'off', DATABASE_URL: 'postgres://localhost/fl' })).toEqual([]);
  });

  it('leaves the schema to others only where others can reach the database', () => {
    expect(loadConfig({}).migrate).toBe('on');
    expect(faultsOf({ FEDEDGE_MIGRATE: 'off' })).toHaveLength(1);
    expect(faultsOf({ FEDEDGE_MIGRATE: 'off', DATABASE_URL: 'postgres://localhost/fl' })).toEqual([]);
  });

  it('cuts the slash off the end of the public URL, since audiences are compared as they are', () => {
    expect(loadConfig({ FEDEDGE_PUBLIC_URL: 'https://fl.example.org/' }).publicUrl).toBe(
      'https://fl.example.org',
    );
  });

  it('reads quotas, and off', () => {
    const { perDevice, perOperator } = loadConfig({
      FEDEDGE_LIMIT_DEVICE: '10/2',
      FEDEDGE_LIMIT_OPERATOR: 'off',
    }).limits;
    expect(perDevice).toEqual({ requests: 10, seconds: 2 });
    expect(perOperator).toBeUndefined();
  });

  it.each(['10', '0/1', '10/0', '-1/1', 'on', '1.5/1', '10/1/1', ' 10/1'])(
    'refuses the quota %j',
    (quota) => {
      expect(faultsOf({ FEDEDGE_LIMIT_TOKENS: quota })).toHaveLength(1);
    },
  );

  it('takes origins as browsers send them, and names each that is none', () => {
    const good = 'https://app.example.org, http://localhost:3000';
    expect(loadConfig({ FEDEDGE_CORS_ORIGINS: good }).limits.corsOrigins).toEqual([
      'https://app.example.org',
      'http://localhost:3000',
    ]);
    const bad = ['*', 'null', 'https://a.example/', 'app.example.org', 'https://*.example.org', 'file:///a'];
    expect(faultsOf({ FEDEDGE_CORS_ORIGINS: [good, ...bad].join() })).toHaveLength(bad.length);
  });

  it('refuses an operator key that nobody could have made at random', () => {
    expect(faultsOf({ FEDEDGE_OPERATOR_KEY: 'a'.repeat(49) })).toHaveLength(1);
    expect(faultsOf({ FEDEDGE_OPERATOR_KEY: `fedop_${'a'.repeat(43)}` })).toEqual([]);
  });

  it('never repeats a secret in a fault', () => {
    const secret = 'correct horse battery staple';
    expect(faultsOf({ FEDEDGE_OPERATOR_KEY: secret }).join()).not.toContain(secret);
  });

  it('is frozen', () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true);
  });
});
