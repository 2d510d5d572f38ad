import type { FlavourSettings } from '../settings.ts';

/** A kind of object, as an AppProject names it. Group '' is the core one. */
export interface Kind {
  group: string;
  kind: string;
}

const kindsOf = (group: string, ...kinds: string[]): Kind[] => kinds.map((kind) => ({ group, kind }));

/** What an environment may bring into its namespace. No Secret (git holds none), no role, nothing unknown. */
const namespaced: readonly Kind[] = [
  ...kindsOf('', 'ConfigMap', 'PersistentVolumeClaim', 'Service', 'ServiceAccount'),
  ...kindsOf('apps', 'DaemonSet', 'Deployment', 'StatefulSet'),
  ...kindsOf('autoscaling', 'HorizontalPodAutoscaler'),
  ...kindsOf('batch', 'CronJob', 'Job'),
  ...kindsOf('external-secrets.io', 'ExternalSecret'),
  ...kindsOf('gateway.networking.k8s.io', 'HTTPRoute'),
  ...kindsOf('monitoring.coreos.com', 'PodMonitor', 'PrometheusRule', 'ServiceMonitor'),
  ...kindsOf('networking.k8s.io', 'Ingress', 'NetworkPolicy'),
  ...kindsOf('policy', 'PodDisruptionBudget'),
  ...kindsOf('postgresql.cnpg.io', 'Cluster'),
];

/** What it may bring that belongs to no namespace: its own, and the volume of a node's folder. */
const clusterWide: readonly Kind[] = kindsOf('', 'Namespace', 'PersistentVolume');

const byFlavour: Readonly<
  Record<keyof FlavourSettings, { namespaced?: readonly Kind[]; clusterWide?: Kind[] }>
> = {
  keda: { namespaced: kindsOf('keda.sh', 'ScaledObject') },
  knative: { namespaced: kindsOf('serving.knative.dev', 'DomainMapping', 'Service') },
  argoRollouts: { namespaced: kindsOf('argoproj.io', 'AnalysisTemplate', 'Rollout') },
  istio: {
    namespaced: kindsOf(
      'security.istio.io',
      'AuthorizationPolicy',
      'PeerAuthentication',
      'RequestAuthentication',
    ),
  },
  harbor: {},
  kubeedge: {
    namespaced: kindsOf('apps.kubeedge.io', 'EdgeApplication'),
    clusterWide: kindsOf('apps.kubeedge.io', 'NodeGroup'),
  },
  k3s: {},
  seldon: { namespaced: kindsOf('mlops.seldon.io', 'Experiment', 'Model') },
  kserve: { namespaced: kindsOf('serving.kserve.io', 'InferenceService') },
  kubeflow: { namespaced: kindsOf('trainer.kubeflow.org', 'TrainJob', 'TrainingRuntime') },
};

/** What an environment with these flavours may bring: every kind by name, none by a wildcard. */
export function allowedKinds(flavours: FlavourSettings): { namespaced: Kind[]; clusterWide: Kind[] } {
  const on = (Object.keys(byFlavour) as (keyof FlavourSettings)[]).filter((flavour) => flavours[flavour]);
  return {
    namespaced: [...namespaced, ...on.flatMap((flavour) => byFlavour[flavour].namespaced ?? [])],
    clusterWide: [...clusterWide, ...on.flatMap((flavour) => byFlavour[flavour].clusterWide ?? [])],
  };
}
