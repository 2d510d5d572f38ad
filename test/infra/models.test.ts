import { describe, expect, test } from 'vitest';
import type { KubernetesObject } from '../../infra/manifest-text.ts';
import { nameOf } from './support/pods.ts';
import { worlds } from './support/worlds.ts';

type Model = new (data: object) => { validate(): void };

/** Which package types the kinds of a group; of Kubernetes' own, `kubernetes-models`. */
const packages: Record<string, string> = {
  'argoproj.io': '@kubernetes-models/argo-rollouts',
  'external-secrets.io': '@kubernetes-models/external-secrets',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'keda.sh': '@kubernetes-models/keda',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
  'postgresql.cnpg.io': '@kubernetes-models/cloudnative-pg',
  'security.istio.io': '@kubernetes-models/istio',
  'serving.knative.dev': '@kubernetes-models/knative',
};
/** No package types them; test/infra/schemas.test.ts has their schemas. */
const untyped = ['apps.kubeedge.io', 'mlops.seldon.io', 'serving.kserve.io', 'trainer.kubeflow.org'];

const groupOf = ({ apiVersion }: KubernetesObject) =>
  apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';
const objects = worlds.flatMap(({ name, objects }) => objects.map((object) => ({ world: name, object })));
const typed = objects.filter(({ object }) => !untyped.includes(groupOf(object)));
const kinds = [...new Set(typed.map(({ object }) => `${object.apiVersion} ${object.kind}`))].sort();

async function modelOf({ apiVersion, kind }: KubernetesObject): Promise<Model> {
  const from = packages[groupOf({ apiVersion } as KubernetesObject)] ?? 'kubernetes-models';
  const module = (await import(`${from}/${apiVersion}/${kind}`)) as Record<string, Model>;
  return module[kind]!;
}

/** Knative fills in the port of a probe; its own schema does not demand one, the model does. */
const knativePort =
  /^data\/spec\/template\/spec\/containers\/\d\/\w+Probe\/httpGet must have required property port$/;

/** What the models' validators say against an object. */
async function faultOf(object: KubernetesObject): Promise<string | undefined> {
  const Kind = await modelOf(object);
  try {
    new Kind(object).validate();
    return undefined;
  } catch (error) {
    const faults = (error as Error).message.split(', ').filter((fault) => !knativePort.test(fault));
    return faults.length > 0 ? `${nameOf(object)}: ${faults.join(', ')}` : undefined;
  }
}

describe('models of the kinds', () => {
  test.each(kinds)('take every %s', async (kind) => {
    const ours = typed.filter(({ object }) => `${object.apiVersion} ${object.kind}` === kind);
    const faults = await Promise.all(ours.map(({ object }) => faultOf(object)));

    expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
  });

  test.each(kinds)('refuse a wrong %s', async (kind) => {
    const { object } = typed.find((each) => `${each.object.apiVersion} ${each.object.kind}` === kind)!;

    expect(await faultOf({ ...object, metadata: { ...object.metadata, labels: 7 as never } })).toContain(
      'labels',
    );
  });

  test('are there for all but the kinds that are named here', () => {
    const groups = new Set(objects.map(({ object }) => groupOf(object)));

    expect(untyped.filter((group) => !groups.has(group))).toEqual([]);
    expect(kinds.length).toBeGreaterThan(25);
  });
});
