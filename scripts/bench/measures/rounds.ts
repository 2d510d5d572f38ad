import { startFleet } from '../fleet/fleet.ts';
import type { Transfer } from '../fleet/transfers.ts';
import { type Context, compare, type Row, round } from '../measure.ts';
import { startBareServer } from '../peers/servers.ts';
import { createModel, roundSeconds, serverOf, startRun } from '../scene.ts';
import { median, takeTurns } from '../statistics.ts';
import { startEmbedded } from '../system/deployments.ts';
import { readUsage, withCpu } from '../system/usage.ts';

interface Size {
  devices: number;
  parameters: number;
  goal?: number;
  aim?: number;
}

const SIZES: Size[] = [
  { devices: 8, parameters: 100_000 },
  { devices: 32, parameters: 100_000 },
  { devices: 100, parameters: 100_000, goal: 1, aim: 0.6 },
  { devices: 8, parameters: 1_000_000 },
  { devices: 32, parameters: 1_000_000, goal: 1, aim: 0.6 },
  { devices: 100, parameters: 1_000_000 },
  { devices: 8, parameters: 10_000_000 },
  { devices: 32, parameters: 10_000_000, goal: 5, aim: 4 },
  { devices: 100, parameters: 10_000_000 },
];
const QUICK: Size[] = [{ devices: 3, parameters: 10_000 }];
const TURNS = 3;
const ROUNDS = 4;

/**
 * Rounds of devices that do not train, on one process with its database, against what a bare node:http needs to move the
 * same files up and down between the same devices: hashed and synced, but neither registered nor folded nor published.
 */
export async function measureRounds(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of context.quick ? QUICK : SIZES) {
    context.note(`${size.devices} devices, ${size.parameters} parameters`);
    rows.push(await measureSize(context, size));
  }
  return rows;
}

async function measureSize({ quick, folder }: Context, size: Size): Promise<Row> {
  const { devices, parameters } = size;
  await using stack = new AsyncDisposableStack();
  const deployment = await startEmbedded({ folder });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder });
  stack.defer(() => fleet.stop());
  const bare = await startBareServer({ folder });
  stack.defer(() => bare.stop());
  const { operator } = deployment;
  const server = serverOf(deployment);
  await fleet.enrol(operator, server, devices);
  const bytes = await fleet.ask('prepare', { parameters });
  await createModel(operator, 'rounds', parameters);
  const rounds = quick ? 2 : ROUNDS;
  const usage = { cpuSeconds: 0, bytes: 0, delays: 0 };

  const ours = async () => {
    await fleet.ask('work', { server, count: devices, transfers: devices, fetches: true });
    const { result, cpuSeconds } = await withCpu([deployment.server.pid], async () => {
      const { id } = await startRun(operator, { model: 'rounds', devices, rounds });
      await operator.waitForRun(id);
      return id;
    });
    const moved = await fleet.ask('rest', undefined);
    usage.cpuSeconds += cpuSeconds;
    usage.bytes += moved.bytesUp + moved.bytesDown;
    usage.delays = moved.delays;
    return roundSeconds(operator, result);
  };
  const peer = async () => {
    const took: Transfer[] = [];
    for (let turn = 0; turn < rounds; turn += 1) {
      const way = { url: bare.url, down: `/memory/${bytes}`, up: '/sync', count: devices };
      took.push(await fleet.ask('exchange', way));
      bare.empty();
    }
    return took.map(({ seconds }) => seconds);
  };
  const seconds = await takeTurns(quick ? 1 : TURNS, [
    { name: 'FedEdge', run: ours },
    { name: 'bare', run: peer },
  ]);
  return {
    devices,
    parameters,
    ...compare({
      unit: 's a round',
      better: 'less',
      figure: median(seconds.get('FedEdge')!.flat()),
      peer: 'node:http, the transfers alone',
      peerFigure: median(seconds.get('bare')!.flat()),
      goal: size.goal === undefined ? undefined : { figure: size.goal },
      aim: size.aim,
    }),
    peakMb: round(readUsage(deployment.server.pid).peakBytes / 1e6),
    cpuSecondsPerGb: round(usage.cpuSeconds / (usage.bytes / 1e9)),
    askedToWait: usage.delays,
  };
}
