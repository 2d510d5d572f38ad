import type { Client } from '../generated/client/index.ts';
import { createToken } from '../generated/sdk.gen.ts';
import { settle, within } from '../http/calls.ts';
import { hasCode } from '../http/problem-error.ts';
import type { Identity } from './identity.ts';
import type { ServerClock } from './server-clock.ts';
import { signAssertion } from './signing.ts';

const EARLY_MS = 60_000;
const TIMEOUT_MS = 30_000;

export interface AccessTokens {
  /** A token that is good for another minute. Throws what the token endpoint answers. */
  get(): Promise<string>;
  /** The token was refused: the next `get` fetches another one. */
  discard(): void;
}

export interface TokenSource {
  api: Client;
  identity: Identity;
  clock: ServerClock;
  audience: string;
  signal: AbortSignal;
}

/** Access tokens by client credentials with `private_key_jwt`, kept until shortly before they expire. */
export function createAccessTokens(source: TokenSource): AccessTokens {
  let held: { token: string; until: number } | undefined;
  let pending: Promise<string> | undefined;
  const refresh = async (): Promise<string> => {
    const { token, seconds } = await requestToken(source);
    held = { token, until: source.clock.now() + seconds * 1000 - EARLY_MS };
    return token;
  };
  return {
    get: async () => {
      if (held && source.clock.now() < held.until) return held.token;
      pending ??= refresh().finally(() => {
        pending = undefined;
      });
      return pending;
    },
    discard: () => {
      held = undefined;
    },
  };
}

/** An assertion is taken once, so each attempt signs its own; one more after the server has told the time. */
async function requestToken(source: TokenSource): Promise<{ token: string; seconds: number }> {
  try {
    return await requestOnce(source);
  } catch (error) {
    if (!hasCode(error, 'clock_skew')) throw error;
    source.clock.set(error.details.serverTime);
    return requestOnce(source);
  }
}

async function requestOnce({ api, identity, clock, audience, signal }: TokenSource) {
  const assertion = await signAssertion(identity, identity.device!, { audience, now: clock.now() });
  const body = {
    grant_type: 'client_credentials' as const,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' as const,
    client_assertion: assertion,
  };
  const call = createToken({ client: api, body, signal: within(TIMEOUT_MS, signal) });
  const { data, response } = await settle(call, signal);
  clock.set(response.headers.get('date'));
  return { token: data.access_token, seconds: data.expires_in };
}
