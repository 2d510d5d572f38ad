/** So many requests in so many seconds: all at once, or spread out. */
export interface Quota {
  requests: number;
  seconds: number;
}

/** What one process lets in. Every replica counts for itself. */
export interface LimitsConfig {
  /** Proxies in front of us that append to `X-Forwarded-For`; 0: the header is not looked at. */
  trustedProxies: number;
  /** Origins of web pages that may call the API. */
  corsOrigins: readonly string[];
  /** Undefined: not limited. */
  perAddress: Quota | undefined;
  /** Registrations and access tokens, which cost signatures, by address. */
  tokensPerAddress: Quota | undefined;
  perDevice: Quota | undefined;
  perOperator: Quota | undefined;
  connections: number;
  connectionsPerAddress: number;
  /** Tensor bodies that are received at once. */
  uploads: number;
}

export const QUOTA = /^(off|[1-9]\d{0,8}\/[1-9]\d{0,4})$/;
export const QUOTA_FAULT = 'has to be REQUESTS/SECONDS, or off';

/** A quota as `QUOTA` allows it. */
export function readQuota(text: string): Quota | undefined {
  const [requests, seconds] = text.split('/');
  return seconds === undefined ? undefined : { requests: Number(requests), seconds: Number(seconds) };
}

/** The origins of a list with commas; `fault` is told of each that is none as browsers send them. */
export function readOrigins(text: string, fault: (message: string) => void): string[] {
  const origins = text.split(',').map((origin) => origin.trim());
  for (const origin of origins) {
    if (!isOrigin(origin)) fault(`${origin} is no origin such as https://app.example.org`);
  }
  return origins;
}

function isOrigin(text: string): boolean {
  return /^https?:[^*]*$/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}
