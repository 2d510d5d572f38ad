import type { CompactJWSHeaderParameters, FlattenedJWSInput } from 'jose';
import type { Logger } from 'pino';
import type { Config, OidcIssuerConfig } from './config.ts';
import type { Clock } from './domain/clock.ts';
import type { Scanner } from './kernels/scanners.ts';
import type { Metrics } from './metrics/metrics.ts';
import type { BlobStore } from './store/blobs/blob-store.ts';
import type { Database } from './store/database.ts';
import type { CredentialCache } from './store/identity/credential-cache.ts';
import type { Listener } from './store/journal/listener.ts';

/** What every service gets first. A plain object: tests put in what they need. */
export interface Deps {
  config: Config;
  /** The API's own URL: the audience of proofs and assertions, the issuer of tokens. */
  publicUrl: string;
  db: Database;
  /** Wakes what waits in this process for a change that any process has made. */
  listener: Listener;
  blobs: BlobStore;
  clock: Clock;
  keys: TokenKeys;
  /** What this process remembers of credentials: `createCredentialCache(listener)`. */
  credentials: CredentialCache;
  /** Whose tokens operators may bring, by their `iss`: `createOidcIssuers(config.oidcIssuers, log)`. */
  issuers: ReadonlyMap<string, OidcIssuer>;
  log: Logger;
  metrics: Metrics;
  /** Looks at tensor values as they arrive (this thread's kernels). */
  createScanner(): Scanner;
  /** Aborted when the process begins to shut down: polls and streams end. */
  stopping: AbortSignal;
  /** Named points that fault tests stop the process at. */
  failpoint(name: string): Promise<void>;
}

/** Finds the key that a token names. Throws `unauthorized` if there is none, `unavailable` if that cannot be known. */
export type FindKey = (header: CompactJWSHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>;

/** An issuer whose tokens operators may bring, and what finds the key of a token among those that it publishes. */
export interface OidcIssuer {
  settings: OidcIssuerConfig;
  findKey: FindKey;
}

/** The key that signs access tokens, and all whose signatures are still accepted. */
export interface TokenKeys {
  signing: { kid: string; algorithm: 'ES256'; key: CryptoKey };
  verifying: ReadonlyMap<string, CryptoKey>;
  /** The public set for `/.well-known/jwks.json`. */
  jwks: { keys: Record<string, unknown>[] };
}
