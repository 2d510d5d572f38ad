/**
 * What tells one environment from another, and nothing else. A member that is missing switches its part off. Names of
 * objects, ports and paths are the same everywhere (names.ts).
 */
export interface Settings {
  /** The namespace that the environment has for itself. */
  namespace: string;
  /** Where devices reach the API (FEDEDGE_PUBLIC_URL): they sign for it, so it has to be what they call. */
  publicUrl: string;
  image: ImageSettings;
  secret: SecretSettings;
  database: DatabaseSettings;
  blobs: BlobSettings;
  /** Other variables of the README's configuration table, for API and worker. No secrets. */
  variables?: Record<string, string>;
  api: ApiSettings;
  worker: WorkerSettings;
  exposure: ExposureSettings;
  network: NetworkSettings;
  observability: ObservabilitySettings;
  backup?: BackupSettings;
  /** Devices that the cluster itself runs, by class. */
  agents?: readonly AgentClass[];
  /** Devices that are placed on nodes on demand. */
  clients?: ClientSettings;
  flavours: FlavourSettings;
}

export interface ImageSettings {
  pullPolicy: 'IfNotPresent' | 'Always' | 'Never';
  /** Name of an existing Secret of type kubernetes.io/dockerconfigjson. */
  pullSecret?: string;
}

/** Where the Secrets `fededge`, `fededge-release` and `fededge-agents` come from (infra/README.md lists their keys). */
export type SecretSettings =
  /** They exist: made by hand, by a sealed secret or by another tool. */
  | { kind: 'existing' }
  /** External Secrets makes them; `path` is where the store keeps one entry for each of them. */
  | { kind: 'external-secrets'; store: string; path: string; refreshSeconds: number };

export type DatabaseSettings =
  /** PostgreSQL 15 or newer, somewhere; DATABASE_URL is in the Secret. */
  | { kind: 'external' }
  /** A cluster by the CloudNativePG operator, with its own credentials. */
  | { kind: 'cloudnative-pg'; instances: number; storage: string; resources: Resources; imageDigest: string }
  /** The API's own, on its volume: one pod with API, worker and database. For edge sites. */
  | { kind: 'embedded' };

export type BlobSettings =
  /** `url` is https://ENDPOINT/BUCKET[/PREFIX]; keys are in the Secret. */
  | { kind: 's3'; url: string; region: string }
  /** Files, shared by all pods of API and worker. More than one node needs ReadWriteMany (NFS, CephFS, EFS). */
  | ({ kind: 'volume' } & VolumeSettings);

export interface VolumeSettings {
  size: string;
  accessMode: 'ReadWriteOnce' | 'ReadWriteMany' | 'ReadOnlyMany';
  /** Unset: the cluster's default class. */
  storageClass?: string;
  /**
   * A PersistentVolume on this folder of the only node is made, for clusters without a storage class. The folder has to
   * exist; the kubelet gives it to our group.
   */
  localPath?: string;
}

export interface Resources {
  /** CPU asked for; there is no limit on CPU, which would throttle, unless `cpuLimit` says so. */
  cpu: string;
  cpuLimit?: string;
  /** Memory asked for, and its limit. */
  memory: string;
}

export interface ApiSettings {
  replicas: number;
  resources: Resources;
  /** HorizontalPodAutoscaler by CPU; `replicas` is its least. */
  autoscaling?: { max: number; cpuPercent: number };
}

export interface WorkerSettings {
  /** At least one, or no round ends. */
  replicas: number;
  resources: Resources;
}

export type ExposureSettings =
  /** The Service alone: reached from inside the cluster, or by a port-forward. */
  | { kind: 'service' }
  | {
      kind: 'ingress';
      host: string;
      className: string;
      tlsSecret: string;
      annotations?: Record<string, string>;
    }
  | { kind: 'gateway'; host: string; gateway: { name: string; namespace: string; listener?: string } };

export interface NetworkSettings {
  /** Namespaces whose pods may call the API: the ingress controller's, a mesh's. */
  callers: readonly string[];
  /** Namespace of Prometheus. Unset: nobody scrapes. */
  monitoring?: string;
  /** Where API, worker and jobs may connect to, besides DNS and the database of this cluster. */
  egress: readonly { name: string; cidr: string; port: number }[];
}

export interface ObservabilitySettings {
  /** The Prometheus operator's objects: ServiceMonitor, PodMonitor, PrometheusRule. */
  monitors: boolean;
  /** The ConfigMap that Grafana's sidecar loads. */
  dashboard: boolean;
}

export interface BackupSettings {
  /** Cron, UTC. */
  schedule: string;
  volume: VolumeSettings;
}

/** Devices of one kind: one on every node that matches, or a number of them anywhere. */
export interface AgentClass {
  /** A DNS label: part of names. */
  name: string;
  resources: Resources;
  /** Unset: a DaemonSet. Set: so many pods, each with its shard of the data (FEDEDGE_AGENT_SHARD). */
  replicas?: number;
  nodeSelector?: Record<string, string>;
  /** Key of the Secret `fededge-agents` with the class' enrolment token. Default: the class' name. */
  tokenKey?: string;
  /**
   * The PersistentVolumeClaim with the data: <model>.safetensors for each model. `volume`: made here; unset: it exists. A class on several nodes needs
   * ReadOnlyMany or ReadWriteMany: Pod Security's `restricted` keeps pods off the nodes' own folders.
   */
  data: { claim: string; volume?: VolumeSettings };
  /** With `replicas`: a volume for each pod, so that one that is replaced is the same device. Unset: a new device. */
  state?: { size: string; storageClass?: string };
}

/** What `infra/placement.ts` works on. */
export interface ClientSettings {
  /** So many agents are asked for. */
  agents: number;
  /** Device labels that their data has to have. */
  labels: Record<string, string>;
  seed: number;
  nodes: readonly ClientNode[];
  candidates: readonly ClientCandidate[];
}

export interface ClientNode {
  /** kubernetes.io/hostname. */
  name: string;
  cpuMillis: number;
  memoryMb: number;
}

/** An agent that could run: which data it sees, where it can, and what it costs. */
export interface ClientCandidate {
  name: string;
  labels: Record<string, string>;
  /** Parts of the data (for example class-and-site cells) with their number of examples. */
  covers: Record<string, number>;
  /** Nodes that reach the data. */
  nodes: readonly string[];
  cpuMillis: number;
  memoryMb: number;
  /** The PersistentVolumeClaim with its data: <model>.safetensors for each model. */
  claim: string;
  /** Key of the Secret `fededge-agents` with its enrolment token. Default: `clients`. */
  tokenKey?: string;
}

/** Each is one file in infra/flavours. */
export interface FlavourSettings {
  keda: boolean;
  knative: boolean;
  argoRollouts: boolean;
  istio: boolean;
  harbor: boolean;
  kubeedge: boolean;
  k3s: boolean;
  seldon: boolean;
  kserve: boolean;
  kubeflow: boolean;
}

export const noFlavours: Readonly<FlavourSettings> = {
  keda: false,
  knative: false,
  argoRollouts: false,
  istio: false,
  harbor: false,
  kubeedge: false,
  k3s: false,
  seldon: false,
  kserve: false,
  kubeflow: false,
};
