import type { Environment } from '../environment.ts';

/** A release that an inference server can serve: it is pinned to bytes, not to a channel. */
export interface ServedRelease {
  model: string;
  /** `sha-256:...` of the weights. */
  digest: string;
  source: ReleaseSource;
  /** The version that the last cohort has until it gets this one. */
  previous?: number;
  /** Percent of the last cohort that get it at the first step. */
  firstPercent: number;
}

/** Where the weights (safetensors, f32) are. A version is in FedEdge itself; a source is outside. */
export type ReleaseSource = { version: number } | { oci: string } | { s3: string } | { url: string };

interface ReleaseFile {
  version?: number;
  digest?: string;
  source?: Exclude<ReleaseSource, { version: number }>;
  previous?: number;
  cohorts?: { percent: number[] }[];
}

/** The environment's releases, in the order of their models. One that follows a channel has no bytes to name here. */
export function servedReleases({ models }: Environment): ServedRelease[] {
  return models.flatMap(({ name, document }) => {
    const { version, digest, source, previous, cohorts } = document as ReleaseFile;
    const where = version !== undefined ? { version } : source;
    if (digest === undefined || where === undefined) return [];
    const firstPercent = cohorts?.at(-1)?.percent[0] ?? 100;
    return [
      { model: name, digest, source: where, firstPercent, ...(previous !== undefined && { previous }) },
    ];
  });
}

/** The path of a version's weights in our API. Whoever fetches it needs an operator's key (a viewer's is enough). */
export function weightsPath(model: string, version: number): string {
  return `v1/models/${model}/versions/${version}/weights`;
}

/** As an object's name: model names may have dots, and be too long with what follows. */
export function objectName(model: string, ...more: (string | number)[]): string {
  return [model.replaceAll('.', '-').slice(0, 40).replace(/-+$/, ''), ...more].join('-');
}
