import type { Deps } from '../../deps.ts';
import { placeTensors } from '../../domain/manifest.ts';
import type { Metrics } from '../../domain/metrics.ts';
import type { EvaluationSet, NamedTensors, Scorer } from '../../domain/ml.ts';
import { parseTensorHeader, type TensorEntry, type TensorHeader } from '../../domain/tensors.ts';
import { isOutage } from '../../store/outage.ts';
import { findUnscoredVersion, setScore, type UnscoredVersion } from '../../store/rounds/publications.ts';

/**
 * Scores the oldest version that has not been scored on its model's evaluation set. It never delays a round. A version
 * that cannot be scored (an architecture that does not fit its tensors) gets an empty score and a line in the log, so
 * that it does not stand before the others for ever. After an outage, or when the worker stops, nothing is noted. True:
 * there was one.
 */
export async function scoreNextVersion(
  deps: Deps,
  scorer: () => Promise<Scorer>,
  signal?: AbortSignal,
): Promise<boolean> {
  const version = await findUnscoredVersion(deps.db.pool);
  if (!version) return false;
  const endTimer = deps.metrics.scoringSeconds.startTimer();
  const score = await scoreVersion(deps, await scorer(), version).catch((error: unknown) => {
    if (signal?.aborted || isOutage(error)) throw error;
    deps.log.error(
      { err: error, model: version.model, version: version.version },
      'a version cannot be scored',
    );
    return {};
  });
  endTimer();
  await deps.db.transaction((tx) => setScore(tx, version, score, deps.clock.now()));
  return true;
}

/** A loss that has run away is left out: a score is made of finite numbers. */
async function scoreVersion(deps: Deps, scorer: Scorer, version: UnscoredVersion): Promise<Metrics> {
  const { examples, loss, accuracy } = await scorer.score({
    architecture: version.manifest.architecture!,
    tensors: readWeights(version, await readFile(deps, version.blobKey)),
    evaluationKey: version.evaluationDigest!,
    evaluationSet: async () => readEvaluationSet(await readFile(deps, version.evaluationKey!)),
  });
  const score = Object.entries({ examples, loss, accuracy });
  return Object.fromEntries(score.filter(([, value]) => Number.isFinite(value)));
}

function readWeights(version: UnscoredVersion, file: Buffer<ArrayBuffer>): NamedTensors {
  const header = readHeader(file);
  const places = placeTensors(version.manifest).tensors;
  return new Map(
    places.map(({ name, shape }) => [name, { shape, values: new Float32Array(dataOf(file, header, name)) }]),
  );
}

/** `x` holds the examples, first dimension first; `y` their class indices. */
function readEvaluationSet(file: Buffer<ArrayBuffer>): EvaluationSet {
  const header = readHeader(file);
  const x = entryOf(header, 'x');
  const y = entryOf(header, 'y');
  const targets = dataOf(file, header, 'y');
  return {
    x: {
      shape: x.shape,
      dtype: x.dtype as EvaluationSet['x']['dtype'],
      bytes: new Uint8Array(dataOf(file, header, 'x')),
    },
    y: y.dtype === 'U8' ? new Uint8Array(targets) : new Int32Array(targets),
  };
}

async function readFile(deps: Deps, key: string): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of deps.blobs.read(key)) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

function readHeader(file: Uint8Array): TensorHeader {
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(`a stored tensor file is damaged: ${parsed.reason}`);
  return parsed.header;
}

function entryOf(header: TensorHeader, name: string): TensorEntry {
  const entry = header.entries.find((candidate) => candidate.name === name);
  if (!entry) throw new Error(`a stored tensor file has no tensor ${name}`);
  return entry;
}

/** A copy of one tensor's bytes, aligned for any view. */
function dataOf(file: Buffer<ArrayBuffer>, header: TensorHeader, name: string): ArrayBuffer {
  const { start, end } = entryOf(header, name);
  return file.buffer.slice(
    file.byteOffset + header.headerBytes + start,
    file.byteOffset + header.headerBytes + end,
  );
}
