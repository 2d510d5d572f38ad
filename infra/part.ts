import type { Environment } from './environment.ts';
import type { Chart } from './kubernetes.ts';

/** What is there before what. Each is a folder of the manifests, and an Application of Argo CD. */
export const layerNames = ['platform', 'data', 'server', 'rollout', 'agents', 'observability'] as const;
export type LayerName = (typeof layerNames)[number];

/** One file of manifests. It adds objects to `chart`, or none where the environment does without. */
export interface Part {
  layer: LayerName;
  /** The file's name. */
  name: string;
  add(chart: Chart, environment: Environment): void;
}
