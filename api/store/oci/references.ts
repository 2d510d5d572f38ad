/** An artifact of an OCI registry, named by its manifest's digest. */
export interface ArtifactReference {
  /** As `registry.example:5000`. */
  registry: string;
  repository: string;
  /** `sha256:` and 64 hexadecimal digits. */
  digest: string;
}

const HOST = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/;

/** Reads `[oci://]REGISTRY/REPOSITORY[:TAG]@sha256:DIGEST`; a tag says nothing beside the digest. Undefined: it is none. */
export function parseArtifactReference(text: string): ArtifactReference | undefined {
  const [name = '', digest = '', ...rest] = text.replace(/^oci:\/\//, '').split('@');
  const slash = name.indexOf('/');
  const registry = name.slice(0, Math.max(slash, 0));
  const [repository = '', tag = 'none', ...more] = name.slice(slash + 1).split(':');
  const isWhole = rest.length === 0 && more.length === 0 && TAG.test(tag) && DIGEST.test(digest);
  const isNamed = HOST.test(registry) && REPOSITORY.test(repository) && repository.length <= 255;
  return isWhole && isNamed ? { registry, repository, digest } : undefined;
}

/** The root of the registry's API: HTTP on this machine's own addresses and where it is allowed, else HTTPS. */
export function registryUrl(registry: string, plainHttp: readonly string[]): string {
  const isPlain = LOOPBACK.test(registry) || plainHttp.includes(registry);
  return `${isPlain ? 'http' : 'https'}://${registry}/v2/`;
}
