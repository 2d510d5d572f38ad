import type { Lockfile } from './lockfile.ts';
import { nameOf, sha512Of } from './lockfile.ts';

export interface ProvenanceInput {
  /** `git+https://.../repository`. */
  source: string;
  commit: string;
  ref: string;
  target: string;
  /** The image that the build began with, by digest where that is known. */
  base: { name: string; digest?: string | undefined };
  lockfile: Lockfile;
  folders: readonly string[];
  builder: string;
  invocation: string;
  /** ISO 8601. */
  startedAt: string;
  finishedAt: string;
}

/** What this kind of build is: the Dockerfile, a target of it, and nothing else that a caller could choose. */
const BUILD_TYPE = 'https://github.com/fededge/fededge/blob/main/infra/docker/README.md#builds';

/** How an image came to be: the predicate of SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance). */
export function createProvenance(input: ProvenanceInput) {
  const { source, commit, ref, target, base, lockfile, folders } = input;
  const packages = folders.map((folder) => {
    const locked = lockfile.get(folder)!;
    const digest = sha512Of(locked);
    return {
      uri: `pkg:npm/${nameOf(folder).replace(/^@/, '%40')}@${encodeURIComponent(locked.version)}`,
      ...(digest !== undefined && { digest: { sha512: digest } }),
    };
  });
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: {
        source: { uri: source, ref, digest: { gitCommit: commit } },
        dockerfile: 'infra/docker/Dockerfile',
        target,
      },
      resolvedDependencies: [
        { uri: `${source}@${ref}`, digest: { gitCommit: commit } },
        {
          uri: `pkg:docker/${base.name.replace(':', '@')}`,
          ...(base.digest !== undefined && { digest: { sha256: base.digest } }),
        },
        ...packages,
      ],
    },
    runDetails: {
      builder: { id: input.builder },
      metadata: {
        invocationId: input.invocation,
        startedOn: input.startedAt,
        finishedOn: input.finishedAt,
      },
    },
  };
}
