import { join } from 'node:path';
import type { Operator } from '../../clients/typescript/index.ts';
import type { Device } from '../support/acceptance/devices.ts';
import type { Cluster } from './clusters.ts';
import type { Engine } from './images.ts';
import type { LongRun } from './long-run.ts';
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
  images: { name: string; first: string; second: string };
  postgres: HostPostgres;
  operatorKey: string;
  repository: Repository;
  /** The last commit that Argo CD has to follow. */
  firstCommit: string;
  service: ApiService;
  operator: Operator;
  goodRelease: { version: number; salt: string; file: string; probes: { inside: Device; outside: Device } };
  badCommit: string;
  longRun: LongRun;
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

/** What the nodes see of this machine's disk: blobs and the agents' examples. */
export function dataFolder({ state }: Pick<Ground, 'state'>): string {
  return process.env.FEDEDGE_TEST_DATA ?? join(state, 'data');
}
