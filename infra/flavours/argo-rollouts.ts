import type {
  IAnalysisTemplate,
  IMetric,
  IRollout,
} from '@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1';
import type { Environment } from '../environment.ts';
import type { Chart } from '../kubernetes.ts';
import { labelsOf, names } from '../names.ts';
import { prometheusUrl } from './prometheus.ts';
import { addObject } from './typed-object.ts';

const TEMPLATE = `${names.api}-canary`;
/** Operations that wait by themselves: how long they take says nothing. */
const waiting = 'getAssignment|followEvents';

/**
 * Argo Rollouts brings a new version of the API pod by pod: a fifth, a half, all. Before each step Prometheus has to see
 * that the new pods answer, fast enough and without errors of their own; else the old ones come back. Devices repeat
 * what was cut off, so nothing is lost either way. The Deployment stays, without pods, as the template.
 */
export function argoRollouts(chart: Chart, environment: Environment): void {
  const { flavours, api, database } = environment.settings;
  if (!flavours.argoRollouts) return;
  if (flavours.knative) throw new Error('flavours.argoRollouts: the API’s pods are Knative’s');
  if (database.kind === 'embedded')
    throw new Error('flavours.argoRollouts: an embedded database has one pod');
  const isScaled = flavours.keda || api.autoscaling !== undefined;
  const labels = labelsOf(environment, 'api');
  const analysis = {
    analysis: {
      templates: [{ templateName: TEMPLATE }],
      args: [{ name: 'pods', valueFrom: { podTemplateHashValue: 'Latest' } }],
    },
  };
  const rollout: IRollout = {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Rollout',
    metadata: { name: names.api, labels },
    spec: {
      ...(!isScaled && { replicas: api.replicas }),
      revisionHistoryLimit: 3,
      progressDeadlineSeconds: 600,
      progressDeadlineAbort: true,
      workloadRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: names.api, scaleDown: 'onsuccess' },
      strategy: {
        canary: {
          maxSurge: 1,
          maxUnavailable: 0,
          steps: [{ setWeight: 20 }, analysis, { setWeight: 50 }, analysis],
        },
      },
    },
  };
  addObject(chart, rollout);
  addObject(chart, analysisTemplate(environment));
}

function analysisTemplate(environment: Environment): IAnalysisTemplate {
  const { namespace } = environment.settings;
  const pods = `namespace="${namespace}",pod=~"${names.api}-{{args.pods}}-.*"`;
  const requests = `fededge_http_request_seconds_count{${pods}}`;
  const errors = `fededge_http_request_seconds_count{${pods},status=~"5.."}`;
  const buckets = `fededge_http_request_seconds_bucket{${pods},operation!~"${waiting}"}`;
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'AnalysisTemplate',
    metadata: { name: TEMPLATE, labels: labelsOf(environment, 'api') },
    spec: {
      args: [{ name: 'pods' }],
      metrics: [
        // A pod that nobody has asked yet answers the scraper, and that is enough.
        metric(environment, 'answers', `sum(up{${pods}})`, 'len(result) > 0 && result[0] >= 1'),
        metric(
          environment,
          'errors',
          `sum(rate(${errors}[2m])) / sum(rate(${requests}[2m]))`,
          'len(result) == 0 || isNaN(result[0]) || result[0] <= 0.01',
        ),
        metric(
          environment,
          'seconds',
          `histogram_quantile(0.99, sum by (le) (rate(${buckets}[2m])))`,
          'len(result) == 0 || isNaN(result[0]) || result[0] <= 2.5',
        ),
      ],
    },
  };
}

/** Four looks in two minutes, one of which may be bad. The first comes when Prometheus has scraped the new pods. */
function metric(environment: Environment, name: string, query: string, successCondition: string): IMetric {
  return {
    name,
    initialDelay: '60s',
    interval: '30s',
    count: 4,
    failureLimit: 1,
    successCondition,
    provider: { prometheus: { address: prometheusUrl(environment), query } },
  };
}
