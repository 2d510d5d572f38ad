import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Operator, Run, Update } from '../../clients/typescript/index.ts';
import { type Assignment, type Device, enrolDevice, type Receipt } from '../support/acceptance/devices.ts';
import { expectStatus, sha256 } from '../support/acceptance/requests.ts';
import { toF32Bytes } from '../support/acceptance/tensor-files.ts';
import { foldVersion, type Layout, type MadeUpdate, makeUpdate } from '../support/acceptance/updates.ts';
import { waitFor } from './waiting.ts';

/** A round every half second or so: thousands of versions would prove no more. */
const PACE_MS = 400;

/** What devices sign for in the environment `dev`. */
const PUBLIC_URL = 'http://fededge-api.fededge.svc';
const MODEL = 'witness';
const layout: readonly Layout[] = [
  { name: 'kernel', shape: [64, 16] },
  { name: 'bias', shape: [16] },
];

export async function enrol(
  operator: Operator,
  url: string,
  name: string,
  count: number,
  models: string[] = [],
): Promise<Device[]> {
  const { token } = await operator.createEnrollmentToken({ name, maxUses: count, expiresInSeconds: 3600 });
  const common = {
    url: () => url,
    publicUrl: PUBLIC_URL,
    enrollmentToken: token,
    secrets: new Set<string>(),
  };
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      enrolDevice({ ...common, name: `${name}-${index + 1}`, properties: { models } }),
    ),
  );
}

/**
 * Devices and an operator that never rest, and remember what they were told. They repeat what was not answered, as every
 * client does; whatever else is not what it should be is a failed operation.
 */
export interface Fleet {
  stop(): void;
  /** Stops it, and holds what the devices were told against what the server has: rejects at the first difference. */
  stopAndCheck(): Promise<{ operations: number; updates: number; versions: number }>;
}

export async function startFleet(operator: Operator, url: string, count = 4): Promise<Fleet> {
  const devices = await enrol(operator, url, 'witness', count, [MODEL]);
  await operator.createModel({
    name: MODEL,
    manifest: { tensors: layout.map((one) => ({ ...one, shape: [...one.shape] })) },
  });
  await operator.uploadVersion(
    MODEL,
    new Map(
      layout.map(({ name, shape }) => [
        name,
        { shape, values: new Float32Array(shape.reduce((a, b) => a * b)) },
      ]),
    ),
  );
  const run = await operator.createRun({
    model: MODEL,
    rounds: 100_000,
    quorum: 2,
    capacity: count,
    deadlineMs: 30_000,
    pendingMs: 60_000,
    presenceMs: 120_000,
    maxFailedRounds: 1_000,
    retainUpdates: true,
  });
  const stopping = new AbortController();
  const witness: Witness = { receipts: new Map(), sent: new Map(), operations: 0 };
  const loops = [
    ...devices.map((device) => workAsDevice(device, witness, stopping.signal)),
    watchAsOperator(operator, run, witness, stopping.signal),
  ];
  for (const loop of loops) loop.catch(() => undefined);
  return {
    stop: () => stopping.abort(),
    async stopAndCheck() {
      stopping.abort();
      await Promise.all(loops);
      await operator.stopRun(run.id);
      return {
        operations: witness.operations,
        updates: witness.receipts.size,
        versions: await check(operator, run, witness),
      };
    },
  };
}

interface Witness {
  /** By assignment. */
  receipts: Map<string, Receipt>;
  /** By digest. */
  sent: Map<string, MadeUpdate>;
  operations: number;
}

async function workAsDevice(device: Device, witness: Witness, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const assignment = await device.poll(5, signal).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    witness.operations += 1;
    if (assignment) await contribute(device, assignment, witness);
    await sleep(PACE_MS);
  }
}

async function contribute(device: Device, assignment: Assignment, witness: Witness): Promise<void> {
  await device.download(assignment);
  const update = makeUpdate(layout, Number.parseInt(sha256(Buffer.from(assignment.id)).slice(0, 8), 16));
  const answer = await device.putUpdate(assignment, update.file);
  witness.operations += 2;
  // Too late or one too many: an answer, and no acknowledgement.
  if (answer.status === 409) return;
  const receipt = expectStatus<Receipt>(answer, 200, 201);
  witness.sent.set(receipt.digest, update);
  witness.receipts.set(receipt.assignment, receipt);
}

async function watchAsOperator(
  operator: Operator,
  run: Run,
  witness: Witness,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await operator.getRun(run.id);
    await operator.listRounds(run.id, 'train');
    await operator.getModel(MODEL);
    witness.operations += 3;
    await sleep(PACE_MS / 4);
  }
}

/** Every acknowledged update is folded once or its round failed; versions are gapless; the last ones are their fold. */
async function check(operator: Operator, run: Run, { receipts, sent }: Witness): Promise<number> {
  const rounds = await waitFor('the rounds of the witnesses are over', async () => {
    const all = await operator.listRounds(run.id, 'train');
    return all.every(({ state }) => state === 'completed' || state === 'failed') && all;
  });
  const recorded = new Map<string, Update>();
  const completed = rounds.filter(({ state }) => state === 'completed').sort((a, b) => a.number - b.number);
  for (const [index, round] of completed.entries()) {
    const updates = (await operator.listUpdates(round.id)).sort((a, b) => a.sequence - b.sequence);
    for (const update of updates) recorded.set(update.assignment, update);
    assert.ok(
      updates.every(({ state }) => state === 'folded'),
      `round ${round.number} has updates that are not folded`,
    );
    assert.equal(round.version, completed[0]!.version! + index, 'versions are gapless');
    await checkFold(operator, round.version!, updates, sent);
  }
  const failed = new Set(rounds.filter(({ state }) => state === 'failed').map(({ id }) => id));
  for (const { assignment, digest, round } of receipts.values()) {
    if (failed.has(round)) continue;
    assert.equal(
      recorded.get(assignment)?.digest,
      digest,
      `the acknowledged update of ${assignment} is lost`,
    );
  }
  return completed.length;
}

async function checkFold(
  operator: Operator,
  version: number,
  updates: readonly Update[],
  sent: Witness['sent'],
): Promise<void> {
  const known = updates.map(({ digest, weight }) => ({ values: sent.get(digest)?.values, weight }));
  if (known.some(({ values }) => !values)) return;
  const [base, result] = await Promise.all(
    [version - 1, version].map((one) => operator.downloadWeights(MODEL, one)),
  );
  const expected = foldVersion(flatten(base!), known as { values: Float32Array; weight: number }[]);
  assert.ok(
    toF32Bytes(flatten(result!)).equals(expected),
    `version ${version} is not the fold of its updates`,
  );
}

function flatten(tensors: Awaited<ReturnType<Operator['downloadWeights']>>): Float32Array {
  return Float32Array.from(layout.flatMap(({ name }) => [...tensors.get(name)!.values]));
}
