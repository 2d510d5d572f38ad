import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { type Component, components, labelsOf, names } from '../../names.ts';
import { hasAgents } from '../../workloads/agent-pod.ts';

/** An account for each component, so that a mesh can tell them apart. None can ask the Kubernetes API anything. */
export function serviceAccounts(chart: Chart, environment: Environment): void {
  for (const component of components.filter((each) => isThere(each, environment))) {
    new k8s.KubeServiceAccount(chart, component, {
      metadata: { name: `${names.app}-${component}`, labels: labelsOf(environment, component) },
      automountServiceAccountToken: false,
    });
  }
}

function isThere(component: Component, environment: Environment): boolean {
  const { settings, models } = environment;
  const isEmbedded = settings.database.kind === 'embedded';
  switch (component) {
    case 'worker':
    case 'migrate':
      return !isEmbedded;
    case 'agent':
      return hasAgents(environment);
    case 'backup':
      return settings.backup !== undefined;
    case 'release':
      return models.length > 0;
    case 'api':
      return true;
  }
}
