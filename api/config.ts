import { z } from 'zod';
import { type LimitsConfig, QUOTA, QUOTA_FAULT, readOrigins, readQuota } from './limits-config.ts';
import { type OidcIssuerConfig, readOidcIssuers } from './oidc-config.ts';

export type { LimitsConfig, Quota } from './limits-config.ts';
export type { OidcIssuerConfig } from './oidc-config.ts';

/** A fault in the environment; `faults` names every one of them, so that they can be mended at once. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`The configuration has faults:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

const milliseconds = z.coerce.number().int().min(1);
const quota = z.string().regex(QUOTA, QUOTA_FAULT);

const environment = z.object({
  FEDEDGE_HOST: z.string().min(1).default('127.0.0.1'),
  FEDEDGE_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  FEDEDGE_PUBLIC_URL: z.url({ protocol: /^https?$/ }).optional(),
  FEDEDGE_DATA_DIR: z.string().min(1).default('.data'),
  FEDEDGE_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  FEDEDGE_WORKER: z.enum(['embedded', 'off']).default('embedded'),
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  FEDEDGE_MIGRATE: z.enum(['on', 'off']).default('on'),
  FEDEDGE_DATABASE_CONNECTIONS: z.coerce.number().int().min(3).max(500).default(16),
  FEDEDGE_DATABASE_TIMEOUT_SECONDS: z.coerce.number().int().min(2).max(600).default(20),
  FEDEDGE_S3_URL: z.url({ protocol: /^https?$/ }).optional(),
  FEDEDGE_S3_REGION: z.string().min(1).default('us-east-1'),
  FEDEDGE_S3_ACCESS_KEY_ID: z.string().min(1).optional(),
  FEDEDGE_S3_SECRET_ACCESS_KEY: z.string().min(1).optional(),
  FEDEDGE_S3_TIMEOUT_SECONDS: z.coerce.number().int().min(2).max(600).default(20),
  FEDEDGE_TOKEN_KEYS: z.string().min(1).optional(),
  FEDEDGE_OPERATOR_KEY: z
    .string()
    .regex(/^fedop_[A-Za-z0-9_-]{43}$/, 'has to be fedop_ and 43 base64url characters')
    .optional(),
  FEDEDGE_OIDC_ISSUERS: z.string().min(1).max(100_000).optional(),
  FEDEDGE_MAX_UPDATE_BYTES: z.coerce.number().int().min(1024).default(2_000_000_000),
  FEDEDGE_TRUSTED_PROXIES: z.coerce.number().int().min(0).max(8).default(0),
  FEDEDGE_CORS_ORIGINS: z.string().max(10_000).optional(),
  FEDEDGE_CATALOG: z.string().min(1).optional(),
  FEDEDGE_CATALOG_SECONDS: z.coerce.number().int().min(1).max(3600).default(30),
  FEDEDGE_REGISTRY_AUTH: z.string().min(1).optional(),
  FEDEDGE_REGISTRY_PLAIN_HTTP: z.string().max(10_000).optional(),
  FEDEDGE_LIMIT_ADDRESS: quota.default('60000/60'),
  FEDEDGE_LIMIT_TOKENS: quota.default('1200/60'),
  FEDEDGE_LIMIT_DEVICE: quota.default('6000/60'),
  FEDEDGE_LIMIT_OPERATOR: quota.default('30000/60'),
  FEDEDGE_MAX_CONNECTIONS: z.coerce.number().int().min(10).max(1_000_000).default(20_000),
  FEDEDGE_MAX_CONNECTIONS_PER_ADDRESS: z.coerce.number().int().min(1).max(1_000_000).default(12_000),
  FEDEDGE_MAX_UPLOADS: z.coerce.number().int().min(1).max(10_000).default(32),
  FEDEDGE_RETAINED_UPDATE_BYTES: z.coerce.number().int().min(0).default(10_000_000_000),
  FEDEDGE_EVENT_DAYS: z.coerce.number().int().min(1).max(3650).default(90),
  FEDEDGE_METRICS_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  FEDEDGE_LEASE_MS: milliseconds.default(10_000),
  FEDEDGE_CHECKPOINT_UPDATES: z.coerce.number().int().min(1).optional(),
  FEDEDGE_FAILPOINT: z.string().optional(),
});

export interface Config {
  host: string;
  port: number;
  /** Where devices reach the API: the `aud` of proofs and assertions. Unset: from the address that is listened on. */
  publicUrl: string | undefined;
  dataDir: string;
  logLevel: z.infer<typeof environment>['FEDEDGE_LOG_LEVEL'];
  worker: 'embedded' | 'off';
  /** Unset: the embedded PostgreSQL in the data folder. */
  databaseUrl: string | undefined;
  /** `off`: the schema is somebody else's work (`migrate`); until it is done this process waits. */
  migrate: 'on' | 'off';
  databaseConnections: number;
  /** A database that does not answer for so long is unavailable. */
  databaseTimeoutMs: number;
  /** Unset: blobs are files in the data folder. */
  s3: S3Config | undefined;
  /** A file with the token signing keys (a JWK set with private keys). Unset: made in the data folder. */
  tokenKeysFile: string | undefined;
  /** A first operator key given from outside. Unset: made on the first start. */
  operatorKey: string | undefined;
  /** OpenID Connect issuers whose tokens operators may bring. */
  oidcIssuers: readonly OidcIssuerConfig[];
  maxUpdateBytes: number;
  limits: LimitsConfig;
  /** The folder with the files of releases and runs. Unset: this server reads none. */
  catalog: string | undefined;
  /** How often it is looked at. */
  catalogMs: number;
  /** OCI registries that versions are imported from: a file with credentials, and hosts that speak plain HTTP. */
  registries: { authFile: string | undefined; plainHttp: readonly string[] };
  /** Files of folded updates that a federation may keep; the oldest go first. */
  retainedUpdateBytes: number;
  /** Events are kept for so long. */
  eventDays: number;
  /** Where a worker without HTTP serves its metrics. Unset: nowhere. */
  metricsPort: number | undefined;
  leaseMs: number;
  /** Checkpoint the accumulator after so many folded updates. Unset: by the bytes folded. */
  checkpointUpdates: number | undefined;
  /** `NAME` or `NAME:COUNT`: kill this process the COUNTth time that it passes there. For fault tests. */
  failpoint: string | undefined;
}

export interface S3Config {
  /** Endpoint/bucket, then a prefix if the bucket is shared. */
  url: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** A service that gives no sign of life for so long is unavailable. */
  timeoutMs: number;
}

/** Parses the environment once. Throws ConfigError with every fault. */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(set);
  const faults = parsed.success
    ? []
    : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const s3Set = ['FEDEDGE_S3_URL', 'FEDEDGE_S3_ACCESS_KEY_ID', 'FEDEDGE_S3_SECRET_ACCESS_KEY'].filter(
    (name) => set[name],
  );
  if (s3Set.length === 1 || s3Set.length === 2) {
    faults.push(
      `${s3Set.join(', ')}: S3 needs FEDEDGE_S3_URL, FEDEDGE_S3_ACCESS_KEY_ID and FEDEDGE_S3_SECRET_ACCESS_KEY`,
    );
  }
  if (parsed.data?.FEDEDGE_S3_URL && new URL(parsed.data.FEDEDGE_S3_URL).pathname === '/') {
    faults.push('FEDEDGE_S3_URL: the bucket is missing (https://ENDPOINT/BUCKET)');
  }
  if (parsed.data?.FEDEDGE_WORKER === 'off' && !parsed.data.DATABASE_URL) {
    faults.push('FEDEDGE_WORKER: off needs DATABASE_URL (no other worker can reach the embedded database)');
  }
  if (parsed.data?.FEDEDGE_MIGRATE === 'off' && !parsed.data.DATABASE_URL) {
    faults.push('FEDEDGE_MIGRATE: off needs DATABASE_URL (the embedded database is migrated by its server)');
  }
  const oidcIssuers = readIssuers(set, faults);
  const corsOrigins = readCorsOrigins(set.FEDEDGE_CORS_ORIGINS, faults);
  if (!parsed.success || faults.length > 0) throw new ConfigError(faults);
  const limits = { ...toLimits(parsed.data), corsOrigins };
  return Object.freeze({ ...toConfig(parsed.data), oidcIssuers, limits });
}

function readIssuers(set: Record<string, string | undefined>, faults: string[]): OidcIssuerConfig[] {
  const name = 'FEDEDGE_OIDC_ISSUERS';
  const text = set[name];
  if (text === undefined) return [];
  const issuers = readOidcIssuers(text, (message) => faults.push(`${name}: ${message}`));
  const own = set.FEDEDGE_PUBLIC_URL?.replace(/\/+$/, '');
  if (issuers.some(({ issuer }) => issuer.replace(/\/+$/, '') === own)) {
    faults.push(`${name}: FEDEDGE_PUBLIC_URL itself cannot be an issuer of operators' tokens`);
  }
  return issuers;
}

function readCorsOrigins(text: string | undefined, faults: string[]): string[] {
  if (text === undefined) return [];
  return readOrigins(text, (message) => faults.push(`FEDEDGE_CORS_ORIGINS: ${message}`));
}

function toLimits(env: z.infer<typeof environment>): Omit<LimitsConfig, 'corsOrigins'> {
  return {
    trustedProxies: env.FEDEDGE_TRUSTED_PROXIES,
    perAddress: readQuota(env.FEDEDGE_LIMIT_ADDRESS),
    tokensPerAddress: readQuota(env.FEDEDGE_LIMIT_TOKENS),
    perDevice: readQuota(env.FEDEDGE_LIMIT_DEVICE),
    perOperator: readQuota(env.FEDEDGE_LIMIT_OPERATOR),
    connections: env.FEDEDGE_MAX_CONNECTIONS,
    connectionsPerAddress: env.FEDEDGE_MAX_CONNECTIONS_PER_ADDRESS,
    uploads: env.FEDEDGE_MAX_UPLOADS,
  };
}

function toConfig(env: z.infer<typeof environment>): Omit<Config, 'oidcIssuers' | 'limits'> {
  return {
    host: env.FEDEDGE_HOST,
    port: env.FEDEDGE_PORT,
    publicUrl: env.FEDEDGE_PUBLIC_URL?.replace(/\/+$/, ''),
    dataDir: env.FEDEDGE_DATA_DIR,
    logLevel: env.FEDEDGE_LOG_LEVEL,
    worker: env.FEDEDGE_WORKER,
    databaseUrl: env.DATABASE_URL,
    migrate: env.FEDEDGE_MIGRATE,
    databaseConnections: env.FEDEDGE_DATABASE_CONNECTIONS,
    databaseTimeoutMs: env.FEDEDGE_DATABASE_TIMEOUT_SECONDS * 1000,
    s3: readS3(env),
    tokenKeysFile: env.FEDEDGE_TOKEN_KEYS,
    operatorKey: env.FEDEDGE_OPERATOR_KEY,
    maxUpdateBytes: env.FEDEDGE_MAX_UPDATE_BYTES,
    catalog: env.FEDEDGE_CATALOG,
    catalogMs: env.FEDEDGE_CATALOG_SECONDS * 1000,
    registries: {
      authFile: env.FEDEDGE_REGISTRY_AUTH,
      plainHttp: env.FEDEDGE_REGISTRY_PLAIN_HTTP?.split(',').map((host) => host.trim()) ?? [],
    },
    retainedUpdateBytes: env.FEDEDGE_RETAINED_UPDATE_BYTES,
    eventDays: env.FEDEDGE_EVENT_DAYS,
    metricsPort: env.FEDEDGE_METRICS_PORT,
    leaseMs: env.FEDEDGE_LEASE_MS,
    checkpointUpdates: env.FEDEDGE_CHECKPOINT_UPDATES,
    failpoint: env.FEDEDGE_FAILPOINT,
  };
}

function readS3(env: z.infer<typeof environment>): Config['s3'] {
  const { FEDEDGE_S3_URL: url, FEDEDGE_S3_ACCESS_KEY_ID: accessKeyId } = env;
  const secretAccessKey = env.FEDEDGE_S3_SECRET_ACCESS_KEY;
  if (!url || !accessKeyId || !secretAccessKey) return undefined;
  const timeoutMs = env.FEDEDGE_S3_TIMEOUT_SECONDS * 1000;
  return { url, region: env.FEDEDGE_S3_REGION, accessKeyId, secretAccessKey, timeoutMs };
}
