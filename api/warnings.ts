import type { Config } from './config.ts';

type Warned = Pick<Config, 'host' | 'publicUrl' | 'databaseUrl' | 'worker' | 's3' | 'tokenKeysFile'>;

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost']);

/** What a configuration that works is likely to be missing, and what comes of it. */
export function warningsOf(config: Warned): string[] {
  const { host, publicUrl, tokenKeysFile } = config;
  const replicated = isReplicated(config);
  const warnings: string[] = [];
  if (publicUrl === undefined && !LOOPBACK.has(host)) {
    warnings.push('Devices on other machines are refused until FEDEDGE_PUBLIC_URL is the URL that they use.');
  }
  if (replicated && publicUrl === undefined) {
    warnings.push(
      'FEDEDGE_PUBLIC_URL is not set: replicas that listen on different addresses refuse what devices sign for each other.',
    );
  }
  if (replicated && tokenKeysFile === undefined) {
    warnings.push(
      'FEDEDGE_TOKEN_KEYS is not set: this server makes signing keys of its own in its data folder. Replicas with other ' +
        'folders refuse its access tokens (401), and so does this one when the folder is lost.',
    );
  }
  return warnings;
}

/** What only a server that is one of several needs. */
function isReplicated({ databaseUrl, worker, s3 }: Warned): boolean {
  return databaseUrl !== undefined && (worker === 'off' || s3 !== undefined);
}
