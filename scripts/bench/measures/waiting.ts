import { setTimeout as sleep } from 'node:timers/promises';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import type { Arrival } from '../fleet/long-polls.ts';
import { type Context, compare, type Row } from '../measure.ts';
import { startBareServer } from '../peers/servers.ts';
import { createModel, serverOf, startRun, stopRun } from '../scene.ts';
import { median, percentile, takeTurns } from '../statistics.ts';
import { type Deployment, startEmbedded } from '../system/deployments.ts';
import { readUsage, withCpu } from '../system/usage.ts';

const OPEN_FILES = 65_536;
const WAIT_SECONDS = 25;
/** A whole cycle of polls, so that coming back is counted, too. */
const WINDOW_MS = 26_000;
const SETTLE_MS = 8000;
const COHORT = 100;
const TURNS = 2;
const OPENINGS = 3;
const ARRIVAL_MS = 30_000;
const LOOK_MS = 100;
const MODEL = 'waiting';
const MOST_CPU = { devices: 2000, percent: 20 };
const AIM_CPU = { devices: 10_000, percent: 50 };
const MOST_P99_MS = 1000;

interface Idle {
  cpuPercent: number;
  bytesPerDevice: number;
}

/** Devices that wait for work on one process, against as many requests that a bare node:http holds by a timer. */
export async function measureWaiting(context: Context): Promise<Row[]> {
  const { quick, folder, note } = context;
  const counts = quick ? [50] : [2000, 10_000];
  await using stack = new AsyncDisposableStack();
  const deployment = await startEmbedded({ folder, openFiles: OPEN_FILES });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder, openFiles: OPEN_FILES });
  stack.defer(() => fleet.stop());
  const most = Math.max(...counts);
  note(`registering ${most} devices`);
  await fleet.enrol(deployment.operator, serverOf(deployment), most);
  await createModel(deployment.operator, MODEL, 1000);
  const rows: Row[] = [];
  for (const devices of counts) {
    const idle = await takeTurns(quick ? 1 : TURNS, [
      { name: 'FedEdge', run: () => waitOnOurs(context, deployment, fleet, devices) },
      { name: 'bare', run: () => holdOnBare(context, fleet, devices) },
    ]);
    rows.push(...idleRows(devices, middleOf(idle.get('FedEdge')!), middleOf(idle.get('bare')!)));
    note(`rounds open for ${devices} devices that wait`);
    await fleet.ask('wait', { server: serverOf(deployment), count: devices, seconds: WAIT_SECONDS });
    await sleep(quick ? 1000 : SETTLE_MS);
    for (const cohort of [Math.min(COHORT, devices / 2), devices]) {
      rows.push(openingRow(devices, await openRounds(context, deployment, fleet, cohort)));
    }
    await fleet.ask('leave', undefined);
  }
  return rows;
}

/** On a server without history: what registering has left behind would hide what waiting costs. */
async function waitOnOurs(
  context: Context,
  deployment: Deployment,
  fleet: Fleet,
  devices: number,
): Promise<Idle> {
  context.note(`${devices} devices wait`);
  await deployment.restartServer();
  const server = serverOf(deployment);
  const idle = await measureIdle(context, deployment.server.pid, devices, () =>
    fleet.ask('wait', { server, count: devices, seconds: WAIT_SECONDS }),
  );
  await fleet.ask('leave', undefined);
  return idle;
}

async function measureIdle(
  { quick }: Context,
  pid: number,
  devices: number,
  wait: () => Promise<unknown>,
): Promise<Idle> {
  const windowMs = quick ? 1000 : WINDOW_MS;
  const before = readUsage(pid).residentBytes;
  await wait();
  await sleep(quick ? 1000 : SETTLE_MS);
  const { cpuSeconds } = await withCpu([pid], () => sleep(windowMs));
  const bytesPerDevice = (readUsage(pid).residentBytes - before) / devices;
  return { cpuPercent: (cpuSeconds / windowMs) * 100_000, bytesPerDevice };
}

async function holdOnBare(context: Context, fleet: Fleet, devices: number): Promise<Idle> {
  context.note(`${devices} requests wait on a bare server`);
  await using stack = new AsyncDisposableStack();
  const bare = await startBareServer({ folder: context.folder, openFiles: OPEN_FILES });
  stack.defer(() => bare.stop());
  const idle = await measureIdle(context, bare.pid, devices, () =>
    fleet.ask('hold', { url: bare.url, count: devices, seconds: WAIT_SECONDS }),
  );
  await fleet.ask('leave', undefined);
  return idle;
}

function middleOf(turns: readonly Idle[]): Idle {
  const middle = (of: keyof Idle) => median(turns.map((idle) => idle[of]));
  return { cpuPercent: middle('cpuPercent'), bytesPerDevice: middle('bytesPerDevice') };
}

interface Opening {
  invited: number;
  p50: number;
  p99: number;
}

/** Opens rounds one after another and looks when the devices that they invite have heard of it. */
async function openRounds(
  { quick, note }: Context,
  deployment: Deployment,
  fleet: Fleet,
  quorum: number,
): Promise<Opening[]> {
  const { operator } = deployment;
  const openings: Opening[] = [];
  for (let opening = 0; opening < (quick ? 1 : OPENINGS); opening += 1) {
    await fleet.ask('arrivals', undefined);
    const { id } = await startRun(operator, { model: MODEL, devices: quorum });
    const arrivals: Arrival[] = [];
    let round: { id: string; openedAt: string; invited: number } | undefined;
    for (const until = Date.now() + ARRIVAL_MS; Date.now() < until; ) {
      await sleep(LOOK_MS);
      arrivals.push(...(await fleet.ask('arrivals', undefined)));
      if (!round?.invited) [round] = await operator.listRounds(id, 'train');
      if (round && round.invited > 0 && arrivals.length >= round.invited) break;
    }
    if (!round || arrivals.length < round.invited) note(`only ${arrivals.length} devices heard of the round`);
    const openedAt = Date.parse(round!.openedAt);
    const ms = arrivals.filter((arrival) => arrival.round === round!.id).map(({ atMs }) => atMs - openedAt);
    openings.push({ invited: round!.invited, p50: percentile(ms, 0.5), p99: percentile(ms, 0.99) });
    await stopRun(deployment, id);
    await fleet.ask('release', undefined);
    await sleep(quick ? 500 : 3000);
  }
  return openings;
}

function idleRows(devices: number, ours: Idle, bare: Idle): Row[] {
  const peer = 'node:http with a timer';
  return [
    {
      devices,
      what: 'idle CPU, polls that come back included',
      ...compare({
        unit: '% of a core',
        better: 'less',
        figure: ours.cpuPercent,
        peer,
        peerFigure: bare.cpuPercent,
        goal: devices === MOST_CPU.devices ? { figure: MOST_CPU.percent } : undefined,
        aim: devices === AIM_CPU.devices ? AIM_CPU.percent : undefined,
      }),
    },
    {
      devices,
      what: 'memory of a waiting device',
      ...compare({
        unit: 'bytes',
        better: 'less',
        figure: ours.bytesPerDevice,
        peer,
        peerFigure: bare.bytesPerDevice,
      }),
    },
  ];
}

function openingRow(devices: number, openings: readonly Opening[]): Row {
  const middle = (of: keyof Opening) => median(openings.map((opening) => opening[of]));
  return {
    devices,
    what: `assignment after the round opened, ${middle('invited')} invited`,
    ...compare({ unit: 'ms, p99', better: 'less', figure: middle('p99'), goal: { figure: MOST_P99_MS } }),
    p50: middle('p50'),
  };
}
