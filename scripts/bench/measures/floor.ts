import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { startFleet } from '../fleet/fleet.ts';
import { type Context, compare, type Row, round } from '../measure.ts';
import { createModel, roundSeconds, serverOf, startRun } from '../scene.ts';
import { median, percentile, takeTurns } from '../statistics.ts';
import { startEmbedded } from '../system/deployments.ts';

const DEVICES = 2;
const PARAMETERS = 1000;
const TURNS = 5;
const ROUNDS = 10;
const MOST_MS = 60;
const AIM_MS = 30;
/** PostgreSQL's sessions hand in their counts when they have been idle for so long. */
const STATISTICS_MS = 11_000;
/** What a round cannot do without: commits, each synced, and small files that outlast a power failure. */
const NEEDED = { commits: 4, files: 3, fileBytes: 4096 };

/**
 * The shortest round: what it takes when there is nothing to move and nothing to add, against the commits and synced
 * files that no round of this design can do without, one after another on the same database and disk.
 */
export async function measureFloor({ quick, folder, note }: Context): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const deployment = await startEmbedded({ folder });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder });
  stack.defer(() => fleet.stop());
  const sql = await deployment.openDatabase();
  stack.defer(() => sql.end());
  const { operator } = deployment;
  const server = serverOf(deployment);
  await fleet.enrol(operator, server, DEVICES);
  await fleet.ask('prepare', { parameters: PARAMETERS });
  await createModel(operator, 'floor', PARAMETERS);
  await fleet.ask('work', { server, count: DEVICES, transfers: DEVICES, fetches: true });
  const [turns, rounds] = quick ? [1, 3] : [TURNS, ROUNDS];
  // The counts come too late for a quick run.
  const counter = quick ? undefined : await createCounter(sql);
  let counted = 0;
  const ours = async () => {
    const { id } = await startRun(operator, { model: 'floor', devices: DEVICES, rounds });
    await operator.waitForRun(id);
    const seconds = await roundSeconds(operator, id);
    counted += seconds.length;
    return seconds.map((second) => second * 1000);
  };
  note(`${turns} times ${rounds} rounds`);
  const times = await takeTurns(turns, [
    { name: 'FedEdge', run: ours },
    { name: 'needed', run: () => doWhatIsNeeded(sql, join(folder, 'floor'), rounds) },
  ]);
  await fleet.ask('rest', undefined);
  // Those of the peer are not FedEdge's.
  const peerCommits = NEEDED.commits * rounds * turns;
  const counts = await counter?.difference();
  const perRound = (count: number) => round((count - peerCommits) / counted);
  const ms = times.get('FedEdge')!.flat();
  return [
    {
      devices: DEVICES,
      parameters: PARAMETERS,
      rounds: ms.length,
      ...compare({
        unit: 'ms a round',
        better: 'less',
        figure: median(ms),
        peer: `${NEEDED.commits} commits and ${NEEDED.files} synced files`,
        peerFigure: median(times.get('needed')!.flat()),
        goal: { figure: MOST_MS },
        aim: AIM_MS,
      }),
      p90: round(percentile(ms, 0.9)),
      transactionsPerRound: counts ? perRound(counts.transactions) : null,
      walSyncsPerRound: counts ? perRound(counts.walSyncs) : null,
    },
  ];
}

async function doWhatIsNeeded(sql: postgres.Sql, folder: string, rounds: number): Promise<number[]> {
  await sql`create table if not exists bench_floor (id int primary key, value int)`;
  await sql`insert into bench_floor values (1, 0) on conflict do nothing`;
  mkdirSync(folder, { recursive: true });
  const times: number[] = [];
  for (let turn = 0; turn < rounds; turn += 1) {
    const began = performance.now();
    for (let file = 0; file < NEEDED.files; file += 1) writeSynced(join(folder, `${turn}-${file}`));
    for (let commit = 0; commit < NEEDED.commits; commit += 1) {
      await sql`update bench_floor set value = value + 1 where id = 1`;
    }
    times.push(performance.now() - began);
  }
  rmSync(folder, { recursive: true, force: true });
  return times;
}

function writeSynced(path: string): void {
  const file = openSync(path, 'wx');
  writeSync(file, Buffer.alloc(NEEDED.fileBytes, 1));
  fdatasyncSync(file);
  closeSync(file);
}

interface Counts {
  transactions: number;
  walSyncs: number;
}

/** Transactions (those that only read included) and syncs of the log, beyond those of an idle system. */
async function createCounter(sql: postgres.Sql) {
  const read = async (): Promise<Counts> => {
    await sleep(STATISTICS_MS);
    const [row] = await sql<[Counts]>`
      select sum(xact_commit)::float8 as transactions,
        (select coalesce(sum(case when current_setting('wal_sync_method') like 'open%' then writes else fsyncs end), 0)::float8
          from pg_stat_io where object = 'wal') as "walSyncs"
      from pg_stat_database`;
    return row;
  };
  const before = await read();
  const idle = subtract(await read(), before);
  const begin = await read();
  return {
    async difference(): Promise<Counts> {
      return subtract(subtract(await read(), begin), idle);
    },
  };
}

function subtract(a: Counts, b: Counts): Counts {
  return { transactions: a.transactions - b.transactions, walSyncs: a.walSyncs - b.walSyncs };
}
