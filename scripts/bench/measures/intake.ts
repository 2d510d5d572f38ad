import { type Fleet, startFleet } from '../fleet/fleet.ts';
import type { Transfer } from '../fleet/transfers.ts';
import { type Context, compare, type Row, round } from '../measure.ts';
import { type PeerServer, startBareServer, startNginx } from '../peers/servers.ts';
import { createModel, serverOf, startRun } from '../scene.ts';
import { median, takeTurns } from '../statistics.ts';
import { type Deployment, startSeparate } from '../system/deployments.ts';
import { withCpu } from '../system/usage.ts';

interface Size {
  parameters: number;
  /** Bodies in a turn, each of a device. */
  count: number;
  /** More of those that take half a second, in which whatever the system does besides weighs more. */
  turns: number;
}

interface Speed {
  gbPerSecond: number;
  cpuPerGb: number;
}

interface Peer {
  name: string;
  server: PeerServer;
  path: string;
  /** The comparison that counts. */
  isFair: boolean;
}

const SIZES: Size[] = [
  { parameters: 100_000, count: 400, turns: 9 },
  { parameters: 1_000_000, count: 96, turns: 5 },
  { parameters: 10_000_000, count: 24, turns: 5 },
];
const QUICK: Size[] = [{ parameters: 100_000, count: 8, turns: 1 }];
/** Users accept no less with bodies of 4 MB; what the machine allows, on few connections, was seen at 0.53 to 0.60. */
const MIDDLE = { parameters: 1_000_000, least: 0.4, connections: 4, aim: 0.53 };

/**
 * Updates put into FedEdge's API, which hashes, looks at every value, syncs and commits, against servers that do less.
 * The worker is stopped meanwhile, so that the fold's share of the machine is not in the figures.
 */
export async function measureIntake(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of context.quick ? QUICK : SIZES) rows.push(...(await measureSize(context, size)));
  return rows;
}

/** A federation of its own: its cohort has to be all of its devices. */
async function measureSize({ quick, folder, note }: Context, size: Size): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const deployment = await startSeparate({ folder });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder });
  stack.defer(() => fleet.stop());
  const bare = await startBareServer({ folder, database: deployment.database });
  stack.defer(() => bare.stop());
  const nginx = await startNginx({ folder });
  stack.defer(async () => nginx?.stop());
  const peers = [
    { name: 'node:http, hashed and synced', server: bare, path: '/sync', isFair: true },
    { name: 'node:http, hashed, synced and a row committed', server: bare, path: '/commit', isFair: false },
    { name: 'node:http, piped to a file', server: bare, path: '/pipe', isFair: false },
    ...(nginx ? [{ name: 'nginx PUT', server: nginx, path: '/put', isFair: false }] : []),
  ];
  await fleet.enrol(deployment.operator, serverOf(deployment), size.count);
  await createModel(deployment.operator, 'intake', size.parameters);
  await startRun(deployment.operator, { model: 'intake', devices: size.count });
  const bodyBytes = await fleet.ask('prepare', { parameters: size.parameters });
  const measure = (connections: number, turns: number, aside = '') => {
    note(`${bodyBytes} bytes, ${connections} connections${aside}`);
    return compareIntake({ deployment, fleet }, peers, { size, bodyBytes, connections, turns });
  };
  if (quick) return await measure(4, size.turns);
  // Not counted: what a process compiles at first it compiles once.
  await measure(4, 1, ', not counted');
  return [...(await measure(4, size.turns)), ...(await measure(16, size.turns))];
}

interface Load {
  size: Size;
  bodyBytes: number;
  connections: number;
  turns: number;
}

async function compareIntake(
  { deployment, fleet }: { deployment: Deployment; fleet: Fleet },
  peers: readonly Peer[],
  { size: { parameters, count }, bodyBytes, connections, turns }: Load,
): Promise<Row[]> {
  const server = serverOf(deployment);
  const ours = async () => {
    await deployment.startWorker();
    await fleet.ask('gather', { server, count });
    await deployment.stopWorker();
    return speedOf([deployment.server.pid], () => fleet.ask('sendUpdates', { server, connections }));
  };
  const contenders = peers.map(({ name, server: { url, pid, empty }, path }) => ({
    name,
    async run() {
      const speed = await speedOf([pid], () => fleet.ask('putFiles', { url, path, count, connections }));
      empty();
      return speed;
    },
  }));
  const speeds = await takeTurns(turns, [{ name: 'FedEdge', run: ours }, ...contenders]);
  const middle = (name: string, figure: keyof Speed) =>
    median(speeds.get(name)!.map((speed) => speed[figure]));
  const isMiddle = parameters === MIDDLE.parameters;
  return peers.map(({ name, isFair }) => ({
    bodyBytes,
    connections,
    ...compare({
      unit: 'GB/s',
      better: 'more',
      figure: middle('FedEdge', 'gbPerSecond'),
      peer: name,
      peerFigure: middle(name, 'gbPerSecond'),
      goal: isFair ? { ratio: 1, ...(isMiddle && { figure: MIDDLE.least }) } : undefined,
      aim: isMiddle && connections === MIDDLE.connections ? MIDDLE.aim : undefined,
    }),
    cpuSecondsPerGb: round(middle('FedEdge', 'cpuPerGb')),
    peerCpuSecondsPerGb: round(middle(name, 'cpuPerGb')),
  }));
}

async function speedOf(pids: number[], transfer: () => Promise<Transfer>): Promise<Speed> {
  const { result, cpuSeconds } = await withCpu(pids, transfer);
  const gigabytes = result.bytes / 1e9;
  return { gbPerSecond: gigabytes / result.seconds, cpuPerGb: cpuSeconds / gigabytes };
}
