import { statfsSync } from 'node:fs';
import { startFleet } from '../fleet/fleet.ts';
import { type Context, compare, type Row, round } from '../measure.ts';
import { createModel, serverOf, startRun } from '../scene.ts';
import { startSeparate } from '../system/deployments.ts';
import { readUsage } from '../system/usage.ts';

const PARAMETERS = 10_000_000;
const ROUNDS = 2;
/** Parameters and updates. */
const WARM_UP = [10_000, 2] as const;
const CONNECTIONS = 4;
const MEGABYTE = 1e6;
const MOST_MEGABYTES = 350;
/** However many updates a round takes, its memory is the same within 10 %. */
const LEAST_RATIO = 0.9;

interface Peaks {
  api: number;
  worker: number;
  bytes: number;
}

/** The most memory that API and worker have held, against that of a round with few updates. */
export async function measureMemory(context: Context): Promise<Row[]> {
  const { quick, folder, note } = context;
  const parameters = quick ? 10_000 : PARAMETERS;
  const rows: Row[] = [];
  // The first rounds of an installation compile, which is not the memory of rounds: later starts find it done.
  await findPeaks(context, ...WARM_UP);
  let first: { updates: number; total: number } | undefined;
  for (const updates of quick ? [2, 4] : [8, 64, 256]) {
    const needed = updates * parameters * 4 * (ROUNDS + 0.5);
    const { bavail, bsize } = statfsSync(folder);
    if (needed > bavail * bsize) {
      const reason = `needs ${Math.ceil(needed / 1e9)} GB of disk`;
      note(`${updates} updates are left out: ${reason} in ${folder}`);
      rows.push({ updates, unit: 'MB', figure: null, met: false, reason });
      continue;
    }
    note(`${updates} updates of ${parameters} parameters`);
    const { api, worker, bytes } = await findPeaks(context, parameters, updates);
    const total = (api + worker) / MEGABYTE;
    rows.push({
      updates,
      updateBytes: bytes,
      ...compare({
        unit: 'MB',
        better: 'less',
        figure: total,
        peer: first && `FedEdge with ${first.updates} updates`,
        peerFigure: first?.total,
        goal: { figure: MOST_MEGABYTES, ...(first && { ratio: LEAST_RATIO }) },
      }),
      apiMb: round(api / MEGABYTE),
      workerMb: round(worker / MEGABYTE),
    });
    first ??= { updates, total };
  }
  return rows;
}

async function findPeaks({ folder }: Context, parameters: number, updates: number): Promise<Peaks> {
  await using stack = new AsyncDisposableStack();
  const deployment = await startSeparate({ folder });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder });
  stack.defer(() => fleet.stop());
  const { operator } = deployment;
  const server = serverOf(deployment);
  await fleet.enrol(operator, server, updates);
  const bytes = await fleet.ask('prepare', { parameters });
  await createModel(operator, 'memory', parameters);
  await fleet.ask('work', { server, count: updates, transfers: CONNECTIONS, fetches: true });
  const { id } = await startRun(operator, { model: 'memory', devices: updates, rounds: ROUNDS });
  const run = await operator.waitForRun(id);
  if (run.state !== 'completed') throw new Error(`the run is ${run.state}`);
  await fleet.ask('rest', undefined);
  const [api, worker] = [deployment.server, deployment.worker!].map(({ pid }) => readUsage(pid).peakBytes);
  return { api: api!, worker: worker!, bytes };
}
