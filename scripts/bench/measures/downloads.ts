import { type Fleet, startFleet } from '../fleet/fleet.ts';
import type { Transfer } from '../fleet/transfers.ts';
import { type Context, compare, type Row, round } from '../measure.ts';
import { type PeerServer, startBareServer } from '../peers/servers.ts';
import { createModel, serverOf, startRun, stopRun } from '../scene.ts';
import { median, takeTurns } from '../statistics.ts';
import { type Deployment, startEmbedded } from '../system/deployments.ts';
import { withCpu } from '../system/usage.ts';

const CONNECTIONS = 8;
const TURNS = 5;
const LEAST_RATIO = 0.8;
/** The bare server's, as long as ours. */
const BARE_ETAG = `"${'0'.repeat(64)}"`;

interface Size {
  parameters: number;
  /** Fetches in a turn. */
  count: number;
  /** Answers 304 in a turn, enough for its first ones not to count; none if absent. */
  notModified?: number;
}

const SIZES: Size[] = [
  { parameters: 100_000, count: 1500, notModified: 40_000 },
  { parameters: 10_000_000, count: 24 },
];
const QUICK: Size[] = [{ parameters: 10_000, count: 20, notModified: 20 }];

interface Stage {
  deployment: Deployment;
  fleet: Fleet;
  bare: PeerServer;
  turns: number;
}

/**
 * Weights fetched by devices, whole and unchanged, against a node:http that sends as many bytes to whoever asks. Both read
 * the same request head, access token included: the peer only ignores it.
 */
export async function measureDownloads({ quick, folder, note }: Context): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const deployment = await startEmbedded({ folder });
  stack.defer(() => deployment.stop());
  const fleet = startFleet({ folder });
  stack.defer(() => fleet.stop());
  const bare = await startBareServer({ folder });
  stack.defer(() => bare.stop());
  const stage = { deployment, fleet, bare, turns: quick ? 1 : TURNS };
  await fleet.enrol(deployment.operator, serverOf(deployment), 1);
  const rows: Row[] = [];
  for (const size of quick ? QUICK : SIZES) {
    note(`${size.parameters} parameters`);
    rows.push(...(await measureSize(stage, size)));
  }
  return rows;
}

async function measureSize(stage: Stage, { parameters, count, notModified }: Size): Promise<Row[]> {
  const { deployment, fleet, bare } = stage;
  const model = `downloads-${parameters}`;
  await createModel(deployment.operator, model, parameters);
  const run = await startRun(deployment.operator, { model, devices: 1 });
  const { token, download } = await fleet.ask('gather', { server: serverOf(deployment), count: 1 });
  const { bytes, digest, url: path } = download;
  const headers: Record<string, string> = { authorization: `Bearer ${token}` };
  const ours = { url: deployment.url, path, headers };
  const memory = { url: bare.url, path: `/memory/${bytes}`, headers };
  const file = { url: bare.url, path: `/file/${bytes}`, headers };
  const rows = [
    await compareFetches(stage, { ours, peer: memory, name: 'node:http, from memory', count, bytes }),
    await compareFetches(stage, { ours, peer: file, name: 'node:http, from a file', count, bytes }),
  ];
  if (notModified !== undefined) {
    const unchanged = { ...ours, headers: { ...headers, 'if-none-match': `"${digest}"` } };
    const peer = { ...memory, headers: { ...headers, 'if-none-match': BARE_ETAG } };
    const both = { ours: unchanged, peer, name: 'node:http, 304', count: notModified, bytes: 0 };
    rows.push(await compareFetches(stage, both));
  }
  await stopRun(deployment, run.id);
  return rows;
}

interface Source {
  url: string;
  path: string;
  headers: Record<string, string>;
}

async function compareFetches(
  { deployment, fleet, bare, turns }: Stage,
  options: { ours: Source; peer: Source; name: string; count: number; bytes: number },
): Promise<Row> {
  const { ours, peer, name, count, bytes } = options;
  const fetch = (source: Source, pid: number) => async () => {
    const load = { ...source, count, connections: CONNECTIONS, expectedBytes: bytes };
    return withCpu([pid], () => fleet.ask('fetchFiles', load));
  };
  const results = await takeTurns(turns, [
    { name: 'FedEdge', run: fetch(ours, deployment.server.pid) },
    { name, run: fetch(peer, bare.pid) },
  ]);
  const amount = bytes === 0 ? count : (bytes * count) / 1e9;
  const speed = (of: string) =>
    median(results.get(of)!.map(({ result }: { result: Transfer }) => amount / result.seconds));
  const cpu = (of: string) =>
    round((median(results.get(of)!.map(({ cpuSeconds }) => cpuSeconds)) / count) * 1e6);
  return {
    bodyBytes: bytes,
    connections: CONNECTIONS,
    ...compare({
      unit: bytes === 0 ? 'answers/s' : 'GB/s',
      better: 'more',
      figure: speed('FedEdge'),
      peer: name,
      peerFigure: speed(name),
      goal: name === 'node:http, from a file' ? undefined : { ratio: LEAST_RATIO },
    }),
    cpuMicroseconds: cpu('FedEdge'),
    peerCpuMicroseconds: cpu(name),
  };
}
