/** A place in an OCI registry. Without tag and digest it is a repository. */
export interface Reference {
  /** As `registry.example:5000`. */
  registry: string;
  repository: string;
  tag?: string;
  /** `sha256:` and 64 hex digits: the digest of a manifest. */
  digest?: string;
}

const HOST = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/;

/**
 * Reads `[oci://]REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]` (OCI distribution specification 1.1). The registry is never
 * guessed: its name has a dot or a port, or is `localhost`. Undefined if the text is none.
 */
export function parseReference(text: string): Reference | undefined {
  const [name = '', digest, ...rest] = text.replace(/^oci:\/\//, '').split('@');
  const slash = name.indexOf('/');
  const registry = name.slice(0, Math.max(slash, 0));
  const [repository = '', tag, ...more] = name.slice(slash + 1).split(':');
  const isWhole = rest.length === 0 && more.length === 0;
  const isHost = HOST.test(registry) && (/[.:]/.test(registry) || registry === 'localhost');
  if (!isWhole || !isHost || !REPOSITORY.test(repository) || repository.length > 255) return undefined;
  if ((tag !== undefined && !TAG.test(tag)) || (digest !== undefined && !DIGEST.test(digest)))
    return undefined;
  return { registry, repository, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** The text that names a manifest for ever: what release files hold. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag && !digest ? `:${tag}` : ''}${digest ? `@${digest}` : ''}`;
}

/** The root of the registry's API: HTTP on this machine's own addresses, else HTTPS. */
export function registryUrl(registry: string, plainHttp = LOOPBACK.test(registry)): string {
  return `${plainHttp ? 'http' : 'https'}://${registry}/v2/`;
}
