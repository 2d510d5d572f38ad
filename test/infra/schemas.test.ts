import { beforeEach, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { KubernetesObject } from '../../infra/manifest-text.ts';
import { synthesize } from '../../infra/synthesis.ts';
import { findFaults, type Kubeconform, prepareKubeconform } from './support/kubeconform.ts';
import { worlds } from './support/worlds.ts';

/** What Argo CD itself is given. */
const argocd = [...(await synthesize())]
  .filter(([path]) => path.startsWith('argocd/') && !path.endsWith('kustomization.yaml'))
  .flatMap(([, text]) => parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject));
const everything = [...worlds.flatMap(({ objects }) => objects), ...argocd];
/** Most objects are the same in most worlds. */
const different = [...new Map(everything.map((object) => [JSON.stringify(object), object])).values()];

let kubeconform: Kubeconform | undefined;
let missing = '';
try {
  kubeconform = await prepareKubeconform();
} catch (error) {
  missing = `no kubeconform, or no schemas: ${(error as Error).message.split('\n')[0]}`;
}

describe('the schemas of the kinds’ own projects', () => {
  beforeEach(({ skip }) => skip(!kubeconform, missing));

  test('hold for every object of every environment and flavour, and for what Argo CD is given', async () => {
    const { valid, faults } = await findFaults(kubeconform!, different);
    expect(faults).toEqual([]);
    expect(valid).toBe(different.length);
  });

  test('are able to fail: a member that is misspelt, a kind that nobody knows', async () => {
    const scaledObject = different.find(({ kind }) => kind === 'ScaledObject')!;
    const { faults } = await findFaults(kubeconform!, [
      { ...scaledObject, spec: { ...(scaledObject.spec as object), minReplicas: 1 } },
      { apiVersion: 'example.org/v1', kind: 'Unknown', metadata: { name: 'x' } },
    ]);
    expect(faults.sort()).toEqual([
      expect.stringContaining("additional properties 'minReplicas' not allowed"),
      expect.stringContaining('could not find schema for Unknown'),
    ]);
  });
});
