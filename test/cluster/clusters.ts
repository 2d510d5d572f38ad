import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';
import { CommandError, run } from './commands.ts';
import { createKubectl, type Kubectl, NAMESPACE } from './kubectl.ts';
import { binaries, scripts } from './places.ts';

/** A running cluster. */
export interface Cluster {
  kind: 'own' | 'given';
  kubeconfig: string;
  kubectl: Kubectl;
  /** The address of this machine, as pods reach it. */
  host: string;
  /** Makes an archive of `docker save` known to the nodes. */
  loadImages(archive: string): Promise<void>;
  /** Takes away what the test has put there. A cluster of its own goes with its state folder. */
  clear(): Promise<void>;
}

export interface ClusterOptions {
  state: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

/** Why the test cannot be made on this machine. */
export class NoClusterError extends Error {}

/** The cluster of KUBECONFIG, or one of its own. Throws NoClusterError. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const given = process.env.KUBECONFIG;
  await buildPrograms(options);
  await orNoCluster('its packages cannot be installed', () => runScript('packages.sh', [], options));
  return given ? await useGiven(given, options) : await bringUp(options);
}

/** What the cluster runs; Go's compiler is only needed the first time. Waits for a build that is under way. Throws NoClusterError. */
export async function buildPrograms(options: Omit<ClusterOptions, 'state'>): Promise<void> {
  const { signal, say } = options;
  if (process.platform !== 'linux') throw new NoClusterError('the cluster of its own needs Linux');
  if (process.getuid?.() !== 0) throw new NoClusterError('the cluster of its own needs root');
  const isBuilt = existsSync(join(binaries, 'pause.tar'));
  if (!isBuilt && !(await hasGo(signal))) throw new NoClusterError('Go is not installed');
  if (!isBuilt) say(`cluster: its programs are built into ${binaries}, once: 12 to 25 minutes`);
  await mkdir(binaries, { recursive: true });
  await orNoCluster('its programs cannot be built', () => runScript('build.sh', [binaries], options));
}

/** Shows what the script says to people. */
async function runScript(
  name: string,
  args: readonly string[],
  { signal, say }: Omit<ClusterOptions, 'state'>,
): Promise<void> {
  const onLine = (line: string) => {
    if (line.startsWith('cluster: ')) say(line);
  };
  await run('bash', [join(scripts, name), ...args], { signal, onLine, timeoutMs: 3_600_000 });
}

async function hasGo(signal: AbortSignal): Promise<boolean> {
  return run('go', ['version'], { signal }).then(
    () => true,
    () => false,
  );
}

async function bringUp({ state, signal }: ClusterOptions): Promise<Cluster> {
  const up = () => run('bash', [join(scripts, 'up.sh'), binaries, state], { signal, timeoutMs: 300_000 });
  await orNoCluster('the cluster does not come up', up);
  const kubeconfig = join(state, 'admin.kubeconfig');
  const socket = join(state, 'containerd', 'containerd.sock');
  return {
    kind: 'own',
    kubeconfig,
    kubectl: createKubectl(join(binaries, 'kubectl'), kubeconfig, signal),
    host: '10.244.0.1',
    async loadImages(archive) {
      await run('ctr', ['-a', socket, '-n', 'k8s.io', 'images', 'import', archive], { signal });
    },
    clear: async () => undefined,
  };
}

/**
 * Somebody's cluster (kind, K3s, ...): FEDEDGE_TEST_LOAD_IMAGES is a shell command that makes the archive $ARCHIVE known
 * to its nodes, FEDEDGE_TEST_HOST the address at which its pods reach this machine.
 */
async function useGiven(kubeconfig: string, { signal }: ClusterOptions): Promise<Cluster> {
  const kubectl = createKubectl(join(binaries, 'kubectl'), kubeconfig.split(delimiter)[0]!, signal);
  const load = process.env.FEDEDGE_TEST_LOAD_IMAGES;
  const host = process.env.FEDEDGE_TEST_HOST ?? firstAddress();
  if (!load)
    throw new NoClusterError('with KUBECONFIG, FEDEDGE_TEST_LOAD_IMAGES has to load $ARCHIVE into the nodes');
  if (!host)
    throw new NoClusterError('with KUBECONFIG, FEDEDGE_TEST_HOST has to be this machine to the pods');
  await orNoCluster('the cluster of KUBECONFIG does not answer', () => kubectl(['get', '--raw', '/readyz']));
  for (const name of OWN_NAMESPACES) {
    if (await kubectl.find('namespace', name))
      throw new NoClusterError(`the cluster of KUBECONFIG has a namespace ${name}`);
  }
  return {
    kind: 'given',
    kubeconfig,
    kubectl,
    host,
    loadImages: async (archive) => {
      await run('bash', ['-c', load], { signal, env: { ARCHIVE: archive } });
    },
    clear: async () => {
      await createKubectl(
        join(binaries, 'kubectl'),
        kubeconfig,
      )(['delete', 'namespace', ...OWN_NAMESPACES, '--ignore-not-found', '--wait=false']);
    },
  };
}

const OWN_NAMESPACES = [NAMESPACE, 'argocd'];

function firstAddress(): string | undefined {
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

async function orNoCluster(what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new NoClusterError(`${what}: ${error.output.trim().split('\n').at(-1)}`, { cause: error });
  }
}
