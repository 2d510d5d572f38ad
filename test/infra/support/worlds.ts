import { type Environment, listEnvironments, loadEnvironment } from '../../../infra/environment.ts';
import type { KubernetesObject } from '../../../infra/manifest-text.ts';
import { type FlavourSettings, noFlavours, type Settings } from '../../../infra/settings.ts';
import { renderEnvironment } from '../../../infra/synthesis.ts';

/** An environment and all that is rendered for it. */
export interface World {
  name: string;
  environment: Environment;
  objects: KubernetesObject[];
}

const environments = await Promise.all((await listEnvironments()).map(loadEnvironment));

/** Every environment as it is; every flavour alone; and what no environment of ours happens to choose. */
export const worlds: readonly World[] = [
  ...environments.map((environment) => render(environment.name, environment)),
  ...(Object.keys(noFlavours) as (keyof FlavourSettings)[]).map(flavoured),
  variant('production with KEDA and Argo Rollouts', 'production', {
    flavours: { ...noFlavours, keda: true, argoRollouts: true },
  }),
  variant('production at a Gateway with monitors off', 'production', {
    exposure: { kind: 'gateway', host: 'f.example.org', gateway: { name: 'g', namespace: 'gateways' } },
    observability: { monitors: false, dashboard: false },
  }),
  variant('production with files on a shared volume', 'production', {
    blobs: { kind: 'volume', size: '1Ti', accessMode: 'ReadWriteMany', storageClass: 'cephfs' },
  }),
  variant('the edge with monitors', 'edge-k3s', { observability: { monitors: true, dashboard: true } }),
  variant('dev with agents that keep their keys', 'dev', {
    agents: find('dev').settings.agents!.map((each) => ({ ...each, state: { size: '1Gi' } })),
  }),
];

export function find(name: string): Environment {
  return environments.find((environment) => environment.name === name)!;
}

export function worldOf(name: string): World {
  return worlds.find((world) => world.name === name)!;
}

function render(name: string, environment: Environment): World {
  return { name, environment, objects: renderEnvironment(environment).flatMap(({ objects }) => objects) };
}

function variant(name: string, base: string, settings: Partial<Settings>): World {
  const environment = find(base);
  return render(name, { ...environment, settings: { ...environment.settings, ...settings } });
}

/** The flavour on the environment that it is for. */
function flavoured(flavour: keyof FlavourSettings): World {
  const bases: Partial<Record<keyof FlavourSettings, string>> = { k3s: 'edge-k3s', kubeedge: 'edge-k3s' };
  const more: Partial<Record<keyof FlavourSettings, Partial<Settings>>> = {
    knative: { exposure: { kind: 'service' } },
    harbor: { image: { pullPolicy: 'IfNotPresent', pullSecret: 'fededge-harbor' } },
  };
  const flavours = { ...noFlavours, [flavour]: true };
  return variant(`with ${flavour}`, bases[flavour] ?? 'production', { ...more[flavour], flavours });
}
