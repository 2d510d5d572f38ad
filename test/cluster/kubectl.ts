import { type CommandOptions, run } from './commands.ts';

/** An object of the API server, as far as the tests read it. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
  };
  // Whatever the kind brings.
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

export interface Pod extends KubeObject {
  spec: { nodeName?: string; containers: { name: string; image: string }[] };
  status: {
    phase: string;
    podIP?: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: { name: string; restartCount: number; imageID: string }[];
  };
}

export interface Kubectl {
  (args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Undefined: there is no such object. */
  find<T = KubeObject>(kind: string, name: string, namespace?: string): Promise<T | undefined>;
  list<T = KubeObject>(kind: string, namespace: string, selector?: string): Promise<T[]>;
  /** Objects or YAML, by server-side apply. */
  apply(what: object | string, ...more: string[]): Promise<void>;
  pods(selector: string): Promise<Pod[]>;
}

export const NAMESPACE = 'fededge';

export function createKubectl(binary: string, kubeconfig: string, signal?: AbortSignal): Kubectl {
  const call = (args: readonly string[], options: CommandOptions = {}) =>
    run(binary, args, {
      timeoutMs: 120_000,
      signal,
      ...options,
      env: { KUBECONFIG: kubeconfig, ...options.env },
    });
  const inNamespace = (namespace?: string) => (namespace ? ['-n', namespace] : []);
  const list = async <T>(kind: string, namespace: string, selector?: string): Promise<T[]> => {
    const filter = selector ? ['-l', selector] : [];
    const text = await call(['get', kind, '-n', namespace, ...filter, '-o', 'json']);
    return (JSON.parse(text) as { items: T[] }).items;
  };
  return Object.assign(call, {
    list,
    async find<T>(kind: string, name: string, namespace?: string): Promise<T | undefined> {
      const text = await call([
        'get',
        kind,
        name,
        ...inNamespace(namespace),
        '--ignore-not-found',
        '-o',
        'json',
      ]);
      return text.trim() ? (JSON.parse(text) as T) : undefined;
    },
    async apply(what: object | string, ...more: string[]): Promise<void> {
      const input = typeof what === 'string' ? what : JSON.stringify(asList(what));
      await call(['apply', '--server-side', '--force-conflicts', '-f', '-', ...more], { input });
    },
    async pods(selector: string): Promise<Pod[]> {
      const pods = await list<Pod>('pods', NAMESPACE, selector);
      return pods.filter(({ metadata }) => !metadata.deletionTimestamp);
    },
  });
}

function asList(what: object): object {
  return Array.isArray(what) ? { apiVersion: 'v1', kind: 'List', items: what } : what;
}

export function isReady({ status }: Pod): boolean {
  return status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}
