import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Cluster } from './clusters.ts';
import { end } from './commands.ts';
import { NAMESPACE } from './kubectl.ts';
import { binaries } from './places.ts';

/** The API's Service, as this machine reaches it: over the proxy of the node, or by a forwarded port. */
export interface ApiService {
  url: string;
  close(): Promise<void>;
}

const SERVICE = 'fededge-api';

export async function openService(cluster: Cluster): Promise<ApiService> {
  if (cluster.kind === 'given') return forwardPort(cluster.kubeconfig);
  const service = await cluster.kubectl.find('service', SERVICE, NAMESPACE);
  const address = (service?.spec as { clusterIP?: string } | undefined)?.clusterIP;
  if (!address) throw new Error(`there is no Service ${SERVICE}`);
  return { url: `http://${address}`, close: async () => undefined };
}

/** It leads to one pod; when that ends, to another. */
async function forwardPort(kubeconfig: string): Promise<ApiService> {
  const port = await freePort();
  let child: ChildProcess | undefined;
  let isClosed = false;
  const start = () => {
    if (isClosed) return;
    const args = ['-n', NAMESPACE, 'port-forward', `service/${SERVICE}`, `${port}:80`];
    child = spawn(join(binaries, 'kubectl'), args, {
      env: { ...process.env, KUBECONFIG: kubeconfig },
      stdio: 'ignore',
    });
    child.once('exit', () => setTimeout(start, 250).unref());
  };
  start();
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      isClosed = true;
      if (child) await end(child);
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}
