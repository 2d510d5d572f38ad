/** A Go module that has kinds of Kubernetes in it, as files of its own. */
interface Source {
  module: string;
  version: string;
  /** A folder of CustomResourceDefinitions, or one file with several. */
  path: string;
}

/** Kubernetes' own kinds: an OpenAPI document. */
export const kubernetes: Source = {
  module: 'k8s.io/kubernetes',
  version: 'v1.34.3',
  path: 'api/openapi-spec/swagger.json',
};

/** The kinds that charts and flavours use and whose projects publish them as Go modules. */
export const customResources: readonly Source[] = [
  { module: 'github.com/argoproj/argo-cd/v3', version: 'v3.2.1', path: 'manifests/crds' },
  { module: 'github.com/argoproj/argo-rollouts', version: 'v1.8.3', path: 'manifests/crds' },
  { module: 'github.com/external-secrets/external-secrets', version: 'v0.16.2', path: 'config/crds/bases' },
  { module: 'github.com/kedacore/keda/v2', version: 'v2.21.0', path: 'config/crd/bases' },
  { module: 'github.com/kubeflow/trainer/v2', version: 'v2.0.0', path: 'manifests/base/crds' },
  {
    module: 'github.com/prometheus-operator/prometheus-operator',
    version: 'v0.85.0',
    path: 'example/prometheus-operator-crd',
  },
  { module: 'istio.io/api', version: 'v1.31.4', path: 'kubernetes/customresourcedefinitions.gen.yaml' },
  { module: 'knative.dev/serving', version: 'v0.51.0', path: 'config/core/300-resources' },
  { module: 'sigs.k8s.io/gateway-api', version: 'v1.6.3', path: 'config/crd/standard' },
];
