import { type Load, sizeOf } from './sizing.ts';

const loads: readonly Load[] = [
  { devices: 100, updatesPerHour: 100, parameters: 1e6, keepDays: 30, updatesPerRound: 20 },
  { devices: 1000, updatesPerHour: 1000, parameters: 1e6, keepDays: 30, updatesPerRound: 100 },
  { devices: 1000, updatesPerHour: 1000, parameters: 25e6, keepDays: 30, updatesPerRound: 100 },
  { devices: 10_000, updatesPerHour: 10_000, parameters: 1e6, keepDays: 30, updatesPerRound: 500 },
  { devices: 10_000, updatesPerHour: 10_000, parameters: 10e6, keepDays: 30, updatesPerRound: 500 },
  { devices: 100_000, updatesPerHour: 50_000, parameters: 1e6, keepDays: 30, updatesPerRound: 1000 },
];
const [begin, end] = ['<!-- sizing -->', '<!-- /sizing -->'];
const head = [
  'devices',
  'updates/hour',
  'model',
  'API pods',
  'worker pods',
  'PostgreSQL',
  'blobs (30 days)',
  'traffic in and out, each',
  'a month',
  'and for traffic out',
];

/** The text with the table between its two marks as it has to be. Throws if it has no such marks. */
export function replaceTable(text: string): string {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the text has no ${begin} ... ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${writeTable()}\n\n${text.slice(to)}`;
}

function writeTable(): string {
  const rows = [head, head.map(() => '---'), ...loads.map(writeRow)];
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function writeRow(load: Load): string[] {
  const { api, worker, database, blobsGb, trafficGbPerMonth, costPerMonth } = sizeOf(load);
  const pods = (of: { replicas: number; cpu: number; memoryGb: number }) =>
    `${of.replicas} x ${of.cpu} CPU, ${of.memoryGb} GB`;
  return [
    number(load.devices),
    number(load.updatesPerHour),
    `${load.parameters / 1e6} M (${number((load.parameters * 4) / 1e6)} MB)`,
    pods(api),
    pods(worker),
    `${database.cpu} CPU, ${database.memoryGb} GB, ${number(database.storageGb)} GB disk, ${database.connections} connections`,
    `${number(blobsGb)} GB`,
    `${number(trafficGbPerMonth.in)} GB`,
    `$${number(costPerMonth.computeAndStorage)}`,
    `$${number(costPerMonth.trafficOut)}`,
  ];
}

const number = (value: number): string => value.toLocaleString('en-US');
