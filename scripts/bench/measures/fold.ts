import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createFoldThread, type FoldThread } from '../../../api/kernels/folds/folds.ts';
import { createSeal } from '../../../api/kernels/seals.ts';
import { measureBlobs } from '../../../api/metrics/measured.ts';
import { createMetrics } from '../../../api/metrics/metrics.ts';
import type { BlobStore } from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { markBlobs } from '../../../api/store/blobs/marked-blobs.ts';
import { makeTensorFile } from '../fleet/tensor-files.ts';
import { type Context, compare, type Row } from '../measure.ts';
import { findFoldPrograms } from '../peers/fold-programs.ts';
import { median, takeTurns } from '../statistics.ts';

/** A file, and how often it is folded in one turn. */
interface Size {
  parameters: number;
  passes: number;
}

const SIZES: Size[] = [
  { parameters: 1_000_000, passes: 50 },
  { parameters: 10_000_000, passes: 8 },
];
const QUICK: Size[] = [{ parameters: 100_000, passes: 2 }];
const TURNS = 7;
const FOLD = 'bench';
const LEAST_GB_PER_SECOND = 0.6;
const LEAST_OF_C = 0.6;
const AIM_OF_C = 0.9;

/**
 * An update's blob past its seal into the f64 accumulator, as the worker does it where its blobs are files (the fold
 * thread reads them itself), against the same file in a C loop that checks nothing, in one that checks by SHA-256, and
 * the way that numpy does it, which checks nothing.
 */
export async function measureFold({ quick, folder, note }: Context): Promise<Row[]> {
  const programs = findFoldPrograms(folder);
  if (programs.length === 0) note('neither gcc nor numpy is here: there is nothing to compare with');
  const dir = join(folder, 'blobs');
  mkdirSync(join(dir, 'update'), { recursive: true });
  const blobs = openAsServed(dir);
  const rows: Row[] = [];
  for (const { parameters, passes } of quick ? QUICK : SIZES) {
    note(`${parameters} parameters`);
    const key = `update/${parameters}`;
    const { bytes, dataStart } = makeTensorFile(parameters);
    writeFileSync(join(dir, key), bytes);
    await using stack = new AsyncDisposableStack();
    const thread = createFoldThread();
    stack.defer(() => thread.close());
    await thread.begin(FOLD, {
      strategy: 'fedavg',
      parameters: {},
      range: { start: 0, length: parameters },
    });
    const sealer = createSeal();
    sealer.push(bytes);
    const seal = sealer.close();
    const head = bytes.subarray(0, dataStart);
    const segment = { fileStart: dataStart, fileEnd: bytes.length, flatStart: 0, dtype: 'F32' as const };
    const ours = () => foldAgain(thread, blobs, { key, segment, head, seal, passes });
    await ours();
    const file = { path: join(dir, key), dataStart, parameters };
    const seconds = await takeTurns(quick ? 1 : TURNS, [
      { name: 'FedEdge', run: ours },
      ...programs.map(({ name, run }) => ({ name, run: async () => run(file, passes) })),
    ]);
    const speed = (name: string) => (bytes.length * passes) / 1e9 / median(seconds.get(name)!);
    const peers = programs.length > 0 ? programs.map(({ name }) => name) : [undefined];
    rows.push(
      ...peers.map((peer) => ({
        parameters,
        ...compareSpeeds({ parameters, figure: speed('FedEdge'), peer, speed }),
      })),
    );
  }
  return rows;
}

/** With all that the worker has around its store. */
function openAsServed(dir: string): BlobStore {
  const record = { marker: async () => 'store/bench', sample: async () => [] };
  const metrics = createMetrics({ version: 'bench', role: 'worker' });
  return measureBlobs(markBlobs(createFileBlobs({ dir }), record, { lookMs: 0 }), metrics);
}

function compareSpeeds(options: {
  parameters: number;
  figure: number;
  peer: string | undefined;
  speed: (name: string) => number;
}): Row {
  const { parameters, figure, peer, speed } = options;
  const peerFigure = peer === undefined ? undefined : speed(peer);
  const isLarge = parameters === 10_000_000;
  return compare({
    unit: 'GB/s',
    better: 'more',
    figure,
    peer,
    peerFigure,
    goal: {
      ...(isLarge && { figure: LEAST_GB_PER_SECOND }),
      ...(peer === 'C loop' && { ratio: LEAST_OF_C }),
    },
    aim: peer === 'C loop' ? Number((AIM_OF_C * peerFigure!).toPrecision(3)) : undefined,
  });
}

async function foldAgain(
  thread: FoldThread,
  blobs: BlobStore,
  options: {
    key: string;
    segment: { fileStart: number; fileEnd: number; flatStart: number; dtype: 'F32' };
    head: Uint8Array;
    seal: string;
    passes: number;
  },
): Promise<number> {
  const { key, segment, head, seal, passes } = options;
  const began = performance.now();
  for (let pass = 0; pass < passes; pass += 1) {
    const source = blobs.read(key);
    const update = { weight: 100, segments: [segment], head, seal, bytes: segment.fileEnd, source };
    const { isIntact } = await thread.add(FOLD, update);
    if (!isIntact) throw new Error('the file is not the one that was sealed');
  }
  return (performance.now() - began) / 1000;
}
