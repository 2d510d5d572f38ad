/** Objects as their controllers leave them, with what Argo CD should make of them. */
export interface HealthExample {
  is: string;
  object: Record<string, unknown>;
  status: 'Healthy' | 'Progressing' | 'Degraded' | 'Suspended';
  /** Part of the message. */
  says?: string;
}

type Condition = Record<string, unknown> & { type: string; status: string };

const withConditions = (...conditions: Condition[]) => ({ status: { conditions } });
const yes = (type: string, more = {}): Condition => ({ type, status: 'True', ...more });
const no = (type: string, more = {}): Condition => ({ type, status: 'False', ...more });
const nothingYet: HealthExample = { is: 'new', object: {}, status: 'Progressing' };

const releaseJob = {
  name: 'fededge-release-mnist-0123456789',
  labels: { 'app.kubernetes.io/component': 'release' },
};
const backoff = { reason: 'BackoffLimitExceeded', message: 'Job has reached the specified backoff limit' };

const route = (...conditions: Condition[]) => ({
  metadata: { generation: 2 },
  spec: { parentRefs: [{ name: 'public' }] },
  status: { parents: [{ parentRef: { name: 'public' }, conditions }] },
});
const observed = { observedGeneration: 2 };

const database = (phase: string, readyInstances: number, ...conditions: Condition[]) => ({
  spec: { instances: 3 },
  status: { phase, readyInstances, conditions },
});

const knative = (observedGeneration: number, ...conditions: Condition[]) => ({
  metadata: { generation: 4 },
  status: { observedGeneration, latestReadyRevisionName: 'fededge-00004', conditions },
});

const inference = (modelStatus: object, ...conditions: Condition[]) => ({
  metadata: { generation: 1 },
  status: { observedGeneration: 1, url: 'http://mnist.example', modelStatus, conditions },
});

const edge = (...conditions: string[]) => ({
  spec: { workloadTemplate: { manifests: [{}, {}] } },
  status: { workloadStatus: conditions.map((is) => ({ identifier: { name: 'agent' }, conditions: is })) },
});

export const healthExamples: Record<string, readonly HealthExample[]> = {
  batch_Job: [
    nothingYet,
    { is: 'running', object: { status: { active: 1 } }, status: 'Progressing' },
    { is: 'complete', object: withConditions(yes('SuccessCriteriaMet'), yes('Complete')), status: 'Healthy' },
    { is: 'suspended', object: withConditions(yes('Suspended')), status: 'Suspended' },
    { is: 'resumed', object: withConditions(no('Suspended')), status: 'Progressing' },
    { is: 'failing', object: withConditions(yes('FailureTarget', backoff)), status: 'Degraded' },
    {
      is: 'a release that was not taken',
      object: { metadata: releaseJob, ...withConditions(yes('Failed', backoff)) },
      status: 'Degraded',
      says: 'Release fededge-release-mnist-0123456789 failed: Job has reached',
    },
    {
      is: 'a release under way',
      object: { metadata: releaseJob, status: { active: 1 } },
      status: 'Progressing',
      says: 'Release fededge-release-mnist',
    },
  ],
  'argoproj.io_Application': [
    nothingYet,
    {
      is: 'degraded',
      object: { status: { health: { status: 'Degraded', message: 'why' } } },
      status: 'Degraded',
    },
    { is: 'healthy', object: { status: { health: { status: 'Healthy' } } }, status: 'Healthy' },
  ],
  'gateway.networking.k8s.io_HTTPRoute': [
    { is: 'new', object: { ...route(), status: {} }, status: 'Progressing' },
    {
      is: 'accepted',
      object: route(yes('Accepted', observed), yes('ResolvedRefs', observed)),
      status: 'Healthy',
    },
    {
      is: 'accepted as it was before',
      object: route(
        yes('Accepted', { observedGeneration: 1 }),
        yes('ResolvedRefs', { observedGeneration: 1 }),
      ),
      status: 'Progressing',
    },
    {
      is: 'pending',
      object: route(no('Accepted', { ...observed, reason: 'Pending' })),
      status: 'Progressing',
    },
    {
      is: 'without its Service',
      object: route(yes('Accepted', observed), no('ResolvedRefs', { ...observed, message: 'no Service' })),
      status: 'Degraded',
      says: 'public: no Service',
    },
    {
      is: 'refused before, not looked at since',
      object: route(no('Accepted', { observedGeneration: 1, reason: 'NotAllowedByListeners' })),
      status: 'Progressing',
    },
  ],
  'keda.sh_ScaledObject': [
    nothingYet,
    { is: 'ready and idle', object: withConditions(yes('Ready'), no('Active')), status: 'Healthy' },
    { is: 'paused', object: withConditions(yes('Ready'), yes('Paused')), status: 'Suspended' },
    { is: 'blind', object: withConditions(yes('Ready'), yes('Fallback')), status: 'Degraded' },
    {
      is: 'wrong',
      object: withConditions(no('Ready', { message: 'ScaledObject does not have correct triggers' })),
      status: 'Degraded',
      says: 'correct triggers',
    },
  ],
  'postgresql.cnpg.io_Cluster': [
    nothingYet,
    { is: 'healthy', object: database('Cluster in healthy state', 3, yes('Ready')), status: 'Healthy' },
    { is: 'an instance short', object: database('Cluster in healthy state', 2), status: 'Progressing' },
    { is: 'setting up', object: database('Setting up primary', 0), status: 'Progressing', says: '0 of 3' },
    { is: 'failing over', object: database('Failing over', 2, no('Ready')), status: 'Progressing' },
    {
      is: 'without an archive',
      object: database(
        'Cluster in healthy state',
        3,
        no('ContinuousArchiving', { message: 'access denied' }),
      ),
      status: 'Degraded',
      says: 'access denied',
    },
    {
      is: 'lost',
      object: database('Cluster is unrecoverable and needs manual intervention', 0),
      status: 'Degraded',
    },
    {
      is: 'asleep',
      object: database('Cluster in healthy state', 0, yes('cnpg.io/hibernation')),
      status: 'Suspended',
    },
  ],
  'external-secrets.io_ExternalSecret': [
    nothingYet,
    { is: 'synchronized', object: withConditions(yes('Ready')), status: 'Healthy' },
    {
      is: 'refused',
      object: withConditions(no('Ready', { message: 'denied' })),
      status: 'Degraded',
      says: 'denied',
    },
  ],
  'serving.knative.dev_Service': [
    { is: 'new', object: { metadata: { generation: 1 } }, status: 'Progressing' },
    { is: 'ready', object: knative(4, yes('Ready')), status: 'Healthy', says: 'fededge-00004' },
    { is: 'ready as it was before', object: knative(3, yes('Ready')), status: 'Progressing' },
    {
      is: 'rolling',
      object: knative(4, { type: 'Ready', status: 'Unknown' }),
      status: 'Progressing',
    },
    { is: 'failed', object: knative(4, no('Ready', { message: 'RevisionMissing' })), status: 'Degraded' },
  ],
  'mlops.seldon.io_Model': [
    nothingYet,
    {
      is: 'available',
      object: { status: { availableReplicas: 2, conditions: [yes('ModelReady'), yes('Ready')] } },
      status: 'Healthy',
      says: '2 replicas',
    },
    {
      is: 'loading',
      object: withConditions(no('ModelReady', { reason: 'ModelProgressing' }), no('Ready')),
      status: 'Progressing',
    },
    {
      is: 'without a server',
      object: withConditions(
        no('ModelReady', { reason: 'ScheduleFailed', message: 'no server' }),
        no('Ready'),
      ),
      status: 'Degraded',
      says: 'ScheduleFailed: no server',
    },
  ],
  'mlops.seldon.io_Experiment': [
    nothingYet,
    {
      is: 'splitting',
      object: withConditions(yes('CandidatesReady'), yes('ExperimentReady'), yes('Ready')),
      status: 'Healthy',
    },
    {
      is: 'waiting for a candidate',
      object: withConditions(no('CandidatesReady', { message: 'mnist-8' }), no('Ready')),
      status: 'Progressing',
    },
    {
      is: 'refused',
      object: withConditions(no('ExperimentReady', { message: 'unknown model' })),
      status: 'Degraded',
    },
  ],
  'serving.kserve.io_InferenceService': [
    { is: 'new', object: { metadata: { generation: 1 } }, status: 'Progressing' },
    { is: 'serving', object: inference({ transitionStatus: 'UpToDate' }, yes('Ready')), status: 'Healthy' },
    {
      is: 'serving the version before',
      object: inference(
        { transitionStatus: 'BlockedByFailedLoad', lastFailureInfo: { message: 'digest differs' } },
        yes('Ready'),
      ),
      status: 'Degraded',
      says: 'digest differs',
    },
    {
      is: 'loading the next version',
      object: inference({ transitionStatus: 'InProgress' }, yes('Ready')),
      status: 'Progressing',
    },
    { is: 'not ready yet', object: inference({}, no('Ready')), status: 'Progressing' },
    { is: 'stopped', object: inference({}, no('Ready'), yes('Stopped')), status: 'Suspended' },
    {
      is: 'changed and not looked at',
      object: { ...inference({ transitionStatus: 'UpToDate' }, yes('Ready')), metadata: { generation: 2 } },
      status: 'Progressing',
    },
  ],
  'trainer.kubeflow.org_TrainJob': [
    nothingYet,
    { is: 'complete', object: withConditions(yes('Complete')), status: 'Healthy' },
    {
      is: 'failed',
      object: withConditions(yes('Failed', backoff)),
      status: 'Degraded',
      says: 'backoff limit',
    },
    { is: 'suspended', object: withConditions(yes('Suspended')), status: 'Suspended' },
    { is: 'resumed', object: withConditions(no('Suspended')), status: 'Progressing' },
  ],
  'apps.kubeedge.io_EdgeApplication': [
    nothingYet,
    { is: 'available', object: edge('Available', 'Available'), status: 'Healthy' },
    { is: 'half there', object: edge('Available', 'Processing'), status: 'Progressing', says: 'agent' },
    { is: 'half seen', object: edge('Available'), status: 'Progressing' },
  ],
};
