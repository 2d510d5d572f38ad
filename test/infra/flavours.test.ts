import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { KubernetesObject } from '../../infra/manifest-text.ts';
import { noFlavours, type Settings } from '../../infra/settings.ts';
import { renderEnvironment } from '../../infra/synthesis.ts';
import { at } from './support/objects.ts';
import { find, worldOf } from './support/worlds.ts';

function render(base: string, settings: Partial<Settings>): KubernetesObject[] {
  const environment = find(base);
  const changed = { ...environment, settings: { ...environment.settings, ...settings } };
  return renderEnvironment(changed).flatMap(({ objects }) => objects);
}
const on = (...flavours: (keyof typeof noFlavours)[]) => ({
  ...noFlavours,
  ...Object.fromEntries(flavours.map((flavour) => [flavour, true])),
});
const named = (objects: readonly KubernetesObject[], kind: string, name: string) =>
  objects.find((object) => object.kind === kind && object.metadata.name === name);

describe('KEDA', () => {
  const { objects } = worldOf('with keda');

  test('scales workers by what waits to be folded, from one up, and nobody else scales them', () => {
    const worker = named(objects, 'ScaledObject', 'fededge-worker');
    expect(at(worker, 'spec.minReplicaCount')).toBeGreaterThanOrEqual(1);
    expect(at(worker, 'spec.triggers.0.metadata.query')).toContain('fededge_pending_folds');
    expect(objects.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')).toEqual([]);
    expect(at(named(objects, 'Deployment', 'fededge-worker'), 'spec.replicas')).toBeUndefined();
  });

  test('a metric that is not there is a fault, and holds the replicas', () => {
    for (const object of objects.filter(({ kind }) => kind === 'ScaledObject')) {
      const triggers = at(object, 'spec.triggers') as { metadata: Record<string, string> }[];
      expect(triggers.map(({ metadata }) => metadata.ignoreNullValues)).toEqual(triggers.map(() => 'false'));
      expect(at(object, 'spec.fallback.replicas')).toBe(at(object, 'spec.minReplicaCount'));
    }
  });

  test('needs a Prometheus, and more than one pod', () => {
    const network = { callers: [], egress: [] };
    expect(() => render('production', { flavours: on('keda'), network })).toThrow('there is no Prometheus');
    expect(() => render('edge-k3s', { flavours: on('keda') })).toThrow('an embedded database has one pod');
  });
});

describe('Argo Rollouts', () => {
  const { objects } = worldOf('production with KEDA and Argo Rollouts');

  test('takes the pods over from the Deployment, and whoever scales turns to it', () => {
    const rollout = named(objects, 'Rollout', 'fededge-api');
    expect(at(rollout, 'spec.workloadRef')).toMatchObject({ kind: 'Deployment', name: 'fededge-api' });
    expect(at(rollout, 'spec.replicas')).toBeUndefined();
    expect(at(named(objects, 'Deployment', 'fededge-api'), 'spec.replicas')).toBe(0);
    expect(at(named(objects, 'ScaledObject', 'fededge-api'), 'spec.scaleTargetRef.kind')).toBe('Rollout');
  });

  test('every step but the first waits for an analysis of the new pods alone', () => {
    const steps = at(named(objects, 'Rollout', 'fededge-api'), 'spec.strategy.canary.steps') as object[];
    expect(steps.map((step) => Object.keys(step)[0])).toEqual([
      'setWeight',
      'analysis',
      'setWeight',
      'analysis',
    ]);
    const template = named(objects, 'AnalysisTemplate', 'fededge-api-canary');
    const metrics = at(template, 'spec.metrics') as { provider: { prometheus: { query: string } } }[];
    expect(metrics).toHaveLength(3);
    for (const { provider } of metrics) {
      expect(provider.prometheus.query).toContain('pod=~"fededge-api-{{args.pods}}-.*"');
    }
  });

  test('does not go with Knative', () => {
    const settings = { flavours: on('argoRollouts', 'knative'), exposure: { kind: 'service' as const } };
    expect(() => render('production', settings)).toThrow('are Knative’s');
  });
});

describe('Knative', () => {
  const { objects, environment } = worldOf('with knative');
  const service = objects.find(({ apiVersion }) => apiVersion.startsWith('serving.knative.dev/v1'))!;
  const template = at(service, 'spec.template') as KubernetesObject;

  test('the API goes to zero, the worker does not', () => {
    expect(template.metadata.annotations?.['autoscaling.knative.dev/min-scale']).toBe('0');
    expect(at(named(objects, 'Deployment', 'fededge-worker'), 'spec.replicas')).toBeGreaterThanOrEqual(1);
    expect(named(objects, 'Deployment', 'fededge-api')).toBeUndefined();
  });

  test('a poll of 60 s is not cut off, nor are a thousand at once', () => {
    expect(at(template, 'spec.responseStartTimeoutSeconds')).toBeGreaterThan(60);
    expect(at(template, 'spec.idleTimeoutSeconds')).toBeGreaterThan(60);
    expect(at(template, 'spec.timeoutSeconds')).toBe(600);
    expect(at(template, 'spec.containerConcurrency')).toBe(1000);
  });

  test('the container has nothing that Knative refuses', () => {
    const container = at(template, 'spec.containers.0') as Record<string, unknown>;
    expect(container.lifecycle).toBeUndefined();
    expect(container.ports).toEqual([{ name: 'http1', containerPort: 8080 }]);
    expect(at(container, 'readinessProbe.httpGet')).toEqual({ path: '/readyz' });
    const allowed = ['containers', 'volumes', 'serviceAccountName', 'automountServiceAccountToken'];
    const ours = Object.keys(template.spec as object).filter((name) => !/Seconds$|Concurrency$/.test(name));
    expect(ours.sort()).toEqual([...allowed, 'enableServiceLinks'].sort());
  });

  test('the public name leads to it', () => {
    const host = new URL(environment.settings.publicUrl).hostname;
    expect(at(named(objects, 'DomainMapping', host), 'spec.ref.name')).toBe('fededge-api');
  });

  test('keeps no files and exposes itself', () => {
    const flavours = on('knative');
    expect(() => render('production', { flavours })).toThrow('Knative itself exposes');
    expect(() => render('dev', { flavours })).toThrow('blobs have to be in S3');
  });
});

describe('Istio', () => {
  const { objects, environment } = worldOf('with istio');
  const { publicUrl } = environment.settings;
  const policies = objects.filter(({ kind }) => kind === 'AuthorizationPolicy');
  const rulesOf = (name: string) => at(named(objects, 'AuthorizationPolicy', name), 'spec.rules');

  test('nothing without mutual TLS, nothing that is not allowed', () => {
    expect(at(named(objects, 'PeerAuthentication', 'default'), 'spec')).toEqual({ mtls: { mode: 'STRICT' } });
    expect(named(objects, 'AuthorizationPolicy', 'deny-all')?.spec).toEqual({});
  });

  test('a device’s token is checked, by our keys, for our audience, and goes on to the API', () => {
    const rules = at(named(objects, 'RequestAuthentication', 'fededge-api'), 'spec.jwtRules');
    expect(rules).toEqual([
      {
        issuer: publicUrl,
        audiences: [publicUrl],
        jwksUri: `${publicUrl}/.well-known/jwks.json`,
        forwardOriginalToken: true,
      },
    ]);
    expect(rulesOf('api-tokens')).toEqual([
      {
        from: [{ source: { requestPrincipals: [`${publicUrl}/*`] } }],
        to: [{ operation: { paths: ['/v1/*'] } }],
      },
    ]);
  });

  test('without a token there are registration, tokens, health and documents, and no more', () => {
    const open = rulesOf('api-open') as { to: { operation: { methods: string[]; paths: string[] } }[] }[];
    const operations = open.flatMap(({ to }) => to.map(({ operation }) => operation));
    const posts = operations.filter(({ methods }) => methods.includes('POST')).flatMap(({ paths }) => paths);
    expect(posts).toEqual(['/v1/devices', '/v1/token']);
    const gets = operations.filter(({ methods }) => methods.includes('GET')).flatMap(({ paths }) => paths);
    expect(gets.filter((path) => path.startsWith('/v1'))).toEqual([]);
    expect(gets).not.toContain('/metrics');
    expect(gets).toEqual(expect.arrayContaining(['/livez', '/readyz', '/.well-known/*']));
  });

  test('operators’ keys, which are no JWTs, pass to the API by the letters that Envoy does not look for', () => {
    expect(rulesOf('api-operator-keys')).toEqual([
      {
        to: [{ operation: { paths: ['/v1/*'] } }],
        when: [{ key: 'request.headers[authorization]', values: ['bearer fedop_*'] }],
      },
    ]);
  });

  test('every rule that is about the API’s paths is about the API’s pods', () => {
    for (const policy of policies.filter(({ metadata }) => metadata.name.startsWith('api-'))) {
      expect(at(policy, 'spec.selector.matchLabels')).toMatchObject({ 'app.kubernetes.io/component': 'api' });
    }
  });

  test('operators’ issuers are let in like ours', () => {
    const issuer = { issuer: 'https://id.example.org', audience: 'fededge', roleClaim: 'roles', roles: {} };
    const more = render('production', {
      flavours: on('istio'),
      variables: { FEDEDGE_OIDC_ISSUERS: JSON.stringify([issuer]) },
    });
    const tokens = named(more, 'AuthorizationPolicy', 'api-tokens');
    expect(at(tokens, 'spec.rules.0.from.0.source.requestPrincipals')).toContain('https://id.example.org/*');
  });

  test('who calls the API and who is called is in the mesh', () => {
    for (const object of objects.filter(({ kind }) => kind === 'Deployment' || kind === 'Job')) {
      const labels = at(object, 'spec.template.metadata.labels') as Record<string, string>;
      const isIn = ['api', 'worker', 'release', 'agent'].includes(labels['app.kubernetes.io/component']!);
      expect(labels['sidecar.istio.io/inject'], object.metadata.name).toBe(isIn ? 'true' : undefined);
    }
  });
});

describe('KubeEdge', () => {
  const { objects, environment } = worldOf('with kubeedge');

  test('each class of agents has its nodes and its application, that calls from outside', () => {
    for (const { name, nodeSelector } of environment.settings.agents!) {
      const group = named(objects, 'NodeGroup', `fededge-${name}`);
      expect(at(group, 'spec.matchLabels')).toEqual(nodeSelector);
      const application = named(objects, 'EdgeApplication', `fededge-agent-${name}`);
      expect(at(application, 'spec.workloadScope.targetNodeGroups.0.name')).toBe(`fededge-${name}`);
      const env = at(application, 'spec.workloadTemplate.manifests.0.spec.template.spec.containers.0.env');
      expect(env).toContainEqual({ name: 'FEDEDGE_URL', value: environment.settings.publicUrl });
    }
    expect(objects.filter(({ kind }) => kind === 'DaemonSet')).toEqual([]);
  });
});

describe('serving', () => {
  test('KServe: the weights that git names, in steps, with their digest', () => {
    const { objects, environment } = worldOf('with kserve');
    const [release] = environment.models;
    const service = named(objects, 'InferenceService', release!.name);
    expect(at(service, 'spec.predictor.canaryTrafficPercent')).toBe(5);
    expect(at(service, 'spec.predictor.annotations')).toEqual({
      'fededge.dev/digest': release!.document.digest,
    });
    expect(at(service, 'spec.predictor.model.storageUri')).toBe(
      'http://fededge-api.fededge.svc/v1/models/vibration/versions/7/weights',
    );
  });

  test('Seldon: the new and the previous version share the traffic as the release’s first step says', () => {
    const { objects } = worldOf('with seldon');
    const models = objects.filter(({ kind }) => kind === 'Model').map(({ metadata }) => metadata.name);
    const experiment = named(objects, 'Experiment', 'vibration');
    expect(at(experiment, 'spec.default')).toBe('vibration-v6');
    const candidates = at(experiment, 'spec.candidates') as { name: string; weight: number }[];
    expect(candidates.map(({ name }) => name).sort()).toEqual(models.sort());
    expect(candidates.map(({ weight }) => weight)).toEqual([95, 5]);
  });

  test('a release that follows a channel names no bytes, so nothing is served by it', () => {
    const staging = render('staging', { flavours: on('kserve', 'seldon') });
    expect(staging.filter(({ kind }) => ['InferenceService', 'Model'].includes(kind))).toEqual([]);
  });
});

describe('Kubeflow', () => {
  const { objects } = worldOf('with kubeflow');

  test('a warm start is a run of its nodes, with an agent beside each that goes when the run is over', () => {
    const job = objects.find(({ kind }) => kind === 'TrainJob')!;
    const runtime = named(objects, 'TrainingRuntime', String(at(job, 'spec.runtimeRef.name')));
    const pod = at(runtime, 'spec.template.spec.replicatedJobs.0.template.spec.template.spec');
    expect(at(pod, 'initContainers.0')).toMatchObject({ args: ['agent'], restartPolicy: 'Always' });
    const nodes = at(job, 'spec.trainer.numNodes');
    expect(at(pod, 'initContainers.0.env')).toContainEqual({
      name: 'FEDEDGE_AGENT_SHARD',
      value: `$(JOB_COMPLETION_INDEX)/${nodes}`,
    });
    const args = at(job, 'spec.trainer.args') as string[];
    const run = JSON.parse(args[args.indexOf('--run') + 1]!) as Record<string, unknown>;
    expect(run).toMatchObject({ model: 'vibration', quorum: nodes, capacity: nodes, rounds: 3 });
    expect(run.schedule).toBeUndefined();
  });

  test('the pipeline is an intermediate representation whose parts fit together', () => {
    const { data } = named(objects, 'ConfigMap', 'fededge-pipelines')!;
    const text = (data as Record<string, string>)['run-federation.yaml']!;
    const [spec, platform] = parseAllDocuments(text).map((document) => document.toJS());
    const task = at(spec, 'root.dag.tasks.run-federation');
    const component = at(spec, `components.${String(at(task, 'componentRef.name'))}`);
    const label = String(at(component, 'executorLabel'));
    expect(at(spec, `deploymentSpec.executors.${label}.container.command.0`)).toBe('node');
    expect(at(platform, `platforms.kubernetes.deploymentSpec.executors.${label}`)).toBeDefined();
    expect(Object.keys(at(component, 'inputDefinitions.parameters') as object)).toEqual(['url', 'run']);
  });
});

describe('K3s and Harbor', () => {
  test('K3s: one pod, stopped before the next, on one volume', () => {
    const { objects } = worldOf('with k3s');
    const api = named(objects, 'Deployment', 'fededge-api');
    expect(at(api, 'spec.replicas')).toBe(1);
    expect(at(api, 'spec.strategy.type')).toBe('Recreate');
    expect(named(objects, 'Deployment', 'fededge-worker')).toBeUndefined();
    expect(() => render('production', { flavours: on('k3s') })).toThrow('one node has one pod');
  });

  test('Harbor: the pull secret is a docker configuration with the robot’s name', () => {
    const { objects } = worldOf('with harbor');
    const secret = named(objects, 'ExternalSecret', 'fededge-harbor');
    expect(at(secret, 'spec.target.template.type')).toBe('kubernetes.io/dockerconfigjson');
    const template = at(secret, 'spec.target.template.data') as Record<string, string>;
    const filled = template['.dockerconfigjson']!.replace('{{ .registry }}', 'h.example').replace(
      /{{ printf.*?}}/,
      'eA==',
    );
    expect(parse(filled)).toEqual({ auths: { 'h.example': { auth: 'eA==' } } });
    expect(() => render('production', { flavours: on('harbor') })).toThrow('image.pullSecret');
  });
});

test('flavours that go together render together', () => {
  const image = { pullPolicy: 'IfNotPresent' as const, pullSecret: 'fededge-harbor' };
  const all = render('production', {
    image,
    flavours: on('keda', 'argoRollouts', 'istio', 'harbor', 'seldon', 'kserve', 'kubeflow'),
  });
  const knative = render('production', {
    image,
    exposure: { kind: 'service' },
    flavours: on('keda', 'knative', 'istio', 'harbor'),
  });
  for (const objects of [all, knative]) {
    const ids = objects.map(({ apiVersion, kind, metadata }) => `${apiVersion}/${kind}/${metadata.name}`);
    expect(ids).toHaveLength(new Set(ids).size);
  }
});
