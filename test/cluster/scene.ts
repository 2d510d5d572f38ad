import type { Operator, Run } from '../../clients/typescript/index.ts';
import type { Cluster } from './clusters.ts';
import type { Engine } from './images.ts';
import type { HostPostgres } from './postgres.ts';
import type { Repository } from './repositories.ts';
import type { ApiService } from './services.ts';

/** What is there before the first step. */
export interface Ground {
  state: string;
  cluster: Cluster;
  signal: AbortSignal;
  say: (line: string) => void;
  /** Work for the end, the last one first. */
  atEnd: (work: () => Promise<unknown>) => void;
}

/** What steps leave to those after them. */
interface Built {
  engine: Engine;
  /** Two images of one content: a new version to Kubernetes, the same program to devices. */
  images: { first: string; second: string };
  postgres: HostPostgres;
  operatorKey: string;
  repository: Repository;
  service: ApiService;
  operator: Operator;
  /** The run that git describes. */
  run: Run;
}

export type Scene = Ground & Built;

/** Reading what no step has made yet is a fault of the test. */
export function createScene(ground: Ground): Scene {
  return new Proxy(ground as Scene, {
    get(scene, name: keyof Scene) {
      if (name in scene) return scene[name];
      throw new Error(`no step has made the ${name} yet`);
    },
  });
}
