import { loadConfig } from '../../../api/config.ts';
import type { Deps } from '../../../api/deps.ts';
import { createApp } from '../../../api/http/app.ts';
import { ensureFederation } from '../../../api/services/identity/federation.ts';
import type { KeySetTiming } from '../../../api/services/identity/oidc/key-sets.ts';
import { createOidcIssuers } from '../../../api/services/identity/oidc/operator-tokens.ts';
import type { TestApp } from '../app.ts';
import { seconds } from './device-keys.ts';
import type { TestIssuer } from './oidc-issuer.ts';

export const AUDIENCE = 'fededge';

/** What another replica needs to trust the issuer; `settings` replace those of its configuration. */
export async function trusting(
  { deps, clock }: TestApp,
  issuer: TestIssuer,
  settings: Record<string, unknown> = {},
  timing: Partial<KeySetTiming> = {},
): Promise<Deps> {
  const entry = {
    issuer: issuer.url,
    audience: AUDIENCE,
    roleClaim: 'groups',
    roles: { 'fl-admins': 'operator', 'fl-pipelines': 'releaser', 'fl-readers': 'viewer' },
    ...settings,
  };
  const { oidcIssuers } = loadConfig({ FEDEDGE_OIDC_ISSUERS: JSON.stringify([entry]) });
  const issuers = createOidcIssuers(oidcIssuers, deps.log, {
    now: () => clock.now().getTime(),
    timeoutMs: 1_000,
    ...timing,
  });
  const trusting = { ...deps, config: { ...deps.config, oidcIssuers }, issuers };
  await ensureFederation(trusting);
  return trusting;
}

/** A replica that trusts the issuer. */
export async function appTrusting(...of: Parameters<typeof trusting>): Promise<TestApp['app']> {
  return createApp(await trusting(...of));
}

/** The claims of a good token, for an hour. */
export function claimsOf({ clock }: TestApp, issuer: TestIssuer, changes: Record<string, unknown> = {}) {
  const iat = seconds(clock.now());
  return {
    iss: issuer.url,
    aud: AUDIENCE,
    sub: 'ada',
    iat,
    exp: iat + 3600,
    groups: ['fl-admins'],
    ...changes,
  };
}
