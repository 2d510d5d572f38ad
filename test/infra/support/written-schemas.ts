import { customResource, type Schema } from '../../../scripts/crds/strict-schemas.ts';

const text: Schema = { type: 'string' };
const whole: Schema = { type: 'integer' };
const truth: Schema = { type: 'boolean' };
const texts: Schema = { type: 'object', additionalProperties: text };
const list = (items: Schema): Schema => ({ type: 'array', items });
const object = (properties: Record<string, Schema>, ...required: string[]): Schema => ({
  type: 'object',
  properties,
  ...(required.length > 0 && { required }),
});
const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

const updateSettings = object({
  allowTags: text,
  forceUpdate: truth,
  ignoreTags: list(text),
  platforms: list(text),
  pullSecret: text,
  updateStrategy: { enum: ['semver', 'newest-build', 'digest', 'alphabetical'] },
});
const writeBack = object(
  {
    method: { type: 'string', pattern: '^(argocd|git|git:[a-zA-Z0-9][a-zA-Z0-9-._/:]*)$' },
    gitConfig: object({ branch: text, repository: text, writeBackTarget: text }),
  },
  'method',
);
const updatedImage = object(
  {
    alias: text,
    imageName: text,
    commonUpdateSettings: updateSettings,
    manifestTargets: object({ kustomize: object({ name: text }, 'name') }),
  },
  'alias',
  'imageName',
);

const kinds: Record<string, Schema> = {
  'argocd-image-updater.argoproj.io/imageupdater_v1alpha1': object(
    {
      commonUpdateSettings: updateSettings,
      writeBackConfig: writeBack,
      applicationRefs: list(
        object({ namePattern: text, images: list(updatedImage) }, 'namePattern', 'images'),
      ),
    },
    'applicationRefs',
  ),
  'mlops.seldon.io/model_v1alpha1': object(
    {
      storageUri: text,
      secretName: text,
      requirements: list(text),
      memory: { 'x-kubernetes-int-or-string': true },
      replicas: whole,
      minReplicas: whole,
      maxReplicas: whole,
      server: text,
    },
    'storageUri',
  ),
  'mlops.seldon.io/experiment_v1alpha1': object(
    {
      default: text,
      candidates: list(object({ name: text, weight: whole }, 'name', 'weight')),
      mirror: object({ name: text, percent: whole }, 'name', 'percent'),
      resourceType: text,
    },
    'candidates',
  ),
  'serving.kserve.io/inferenceservice_v1beta1': object(
    {
      predictor: object({
        canaryTrafficPercent: { type: 'integer', minimum: 0, maximum: 100 },
        annotations: texts,
        serviceAccountName: text,
        automountServiceAccountToken: truth,
        minReplicas: whole,
        maxReplicas: whole,
        model: object(
          {
            modelFormat: object({ name: text, version: text }, 'name'),
            protocolVersion: { enum: ['v1', 'v2'] },
            runtime: text,
            storageUri: text,
            resources: object({ requests: texts, limits: texts }),
          },
          'modelFormat',
        ),
      }),
    },
    'predictor',
  ),
  'apps.kubeedge.io/nodegroup_v1alpha1': object({
    matchLabels: texts,
    nodes: list(text),
    topologyEnabled: truth,
  }),
  'apps.kubeedge.io/edgeapplication_v1alpha1': object(
    {
      workloadTemplate: object({ manifests: list(anything) }),
      workloadScope: object({
        targetNodeGroups: list(object({ name: text, overriders: object({ replicas: whole }) }, 'name')),
      }),
    },
    'workloadScope',
  ),
  'postgresql.cnpg.io/cluster_v1': object(
    { instances: whole, imageName: text, storage: anything, resources: anything },
    'instances',
    'storage',
  ),
};

/**
 * Kinds whose projects publish no Go module that can be had here: the members that we use, by their documentation, and no
 * others. (CloudNativePG's are checked whole by its npm package.) By path, as kubeconform looks for them.
 */
export const writtenSchemas: ReadonlyMap<string, Schema> = new Map(
  Object.entries(kinds).map(([path, spec]) => {
    const isOpen = path.startsWith('postgresql.cnpg.io/');
    const own = isOpen ? { ...spec, additionalProperties: true } : spec;
    return [`${path}.json`, customResource(object({ spec: own }, 'spec'))] as const;
  }),
);
