import type { FetchImplementation } from 'jose';

type FetchOptions = Parameters<FetchImplementation>[1];

const MAX_BYTES = 256 * 1024;

/**
 * Where an issuer says that its keys are (OpenID Connect Discovery 1.0, sections 4.1 to 4.3). Throws if the document is
 * not that issuer's own, or names a place that is less secure than the issuer.
 */
export async function discoverKeys(issuer: string, options: FetchOptions): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const response = await fetchSmall(url, options);
  if (response.status !== 200) throw new Error(`the discovery document has the status ${response.status}`);
  const document = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
  if (document.issuer !== issuer) throw new Error('the discovery document is of another issuer');
  const { jwks_uri: keys } = document;
  if (typeof keys !== 'string' || !URL.canParse(keys))
    throw new Error('the discovery document has no jwks_uri');
  const { protocol } = new URL(keys);
  if (protocol !== 'https:' && protocol !== new URL(issuer).protocol)
    throw new Error('jwks_uri is not https');
  return keys;
}

/** A GET that follows no redirect and reads at most 256 KiB. */
export async function fetchSmall(url: string, options: FetchOptions): Promise<Response> {
  const response = await fetch(url, { ...options, redirect: 'error' });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks), { status: response.status });
}
