import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { listOldDrafts } from '../drafts.ts';
import type { Federation, Witness } from '../federations.ts';
import type { Operator, Round, Run, Update, Version } from '../operators.ts';
import { sha256 } from '../requests.ts';
import type { Service } from '../services.ts';
import { decodeFile, fromF32Bytes } from '../tensor-files.ts';
import { foldVersion } from '../updates.ts';
import { waitUntil } from '../waiting.ts';
import { checkAudit, checkEvents } from './journals.ts';

/**
 * What holds after every fault, as far as it is seen from outside: acknowledged updates have one end (I1), versions are
 * the fold of their recorded updates (I2), gapless (I3) and whole (I4), rounds are where they may be and hold nothing
 * once they are over (I5, I6), no draft outlives its time (I8), no secret is logged (I9), the audit chain holds (I10).
 */
export async function checkInvariants({ service, operator, witness }: Federation): Promise<void> {
  const runs = await operator.list<Run>('/v1/runs');
  const rounds: Round[] = [];
  for (const run of runs) {
    const own = await operator.list<Round>(`/v1/runs/${run.id}/rounds`);
    checkRun(run, own);
    rounds.push(...own);
  }
  const updates = new Map<string, Update[]>();
  for (const round of rounds) {
    const list = await operator.list<Update>(`/v1/rounds/${round.id}/updates`);
    updates.set(round.id, list);
    checkUpdates(round, list, witness);
  }
  checkReceipts(witness, updates);
  for (const { name } of await operator.list<{ name: string }>('/v1/models')) {
    await checkVersions(operator, witness, name, { rounds, updates });
  }
  await checkEvents(service, rounds);
  await checkAudit(operator);
  await checkDrafts(service);
  await checkLogs(service, witness);
}

const isOver = ({ state }: Round) => state === 'completed' || state === 'failed';

function checkRun(run: Run, rounds: readonly Round[]): void {
  const training = rounds.filter(({ kind }) => kind === 'train');
  const completed = training.filter(({ state }) => state === 'completed');
  expect(run.completedRounds, `completed rounds of run ${run.id}`).toBe(completed.length);
  expect(training.map(({ number }) => number)).toEqual(training.map((_, index) => index + 1));
  expect(training.filter((round) => !isOver(round)).length, 'open train rounds').toBeLessThanOrEqual(1);
  for (const round of rounds.filter(isOver)) {
    expect(round.openAssignments, `open assignments of round ${round.id}`).toBe(0);
    expect(round.state === 'failed', `round ${round.id} says why it failed`).toBe(round.reason !== undefined);
  }
}

function checkUpdates(round: Round, updates: readonly Update[], { sent }: Witness): void {
  if (round.kind === 'evaluate') {
    expect(updates, 'an evaluate round has no updates').toEqual([]);
    return;
  }
  expect(updates.map(({ sequence }) => sequence)).toEqual(updates.map((_, index) => index + 1));
  expect(updates.length, `accepted in round ${round.id}`).toBe(round.accepted);
  expect(round.accepted).toBeLessThanOrEqual(round.capacity);
  expect(new Set(updates.map(({ device }) => device)).size, 'updates of one device').toBe(updates.length);
  const legal = { completed: ['folded', 'rejected'], failed: ['expired', 'rejected'] } as const;
  for (const update of updates) {
    const ends = isOver(round) ? legal[round.state as 'completed' | 'failed'] : ['accepted', 'rejected'];
    expect(ends, `the end of update ${update.assignment}`).toContain(update.state);
    if (update.state !== 'folded' && update.state !== 'accepted') expect(update.reason).toBeTruthy();
    expect(sent.get(update.digest)?.numExamples, 'what was sent').toBe(update.numExamples);
  }
}

/** What was acknowledged is on record, with the sequence and the digest of the receipt. */
function checkReceipts({ receipts }: Witness, updates: ReadonlyMap<string, readonly Update[]>): void {
  for (const { assignment, round, sequence, digest } of receipts.values()) {
    const found = updates.get(round)?.filter((update) => update.assignment === assignment);
    expect(found, `the update of assignment ${assignment}`).toEqual([
      expect.objectContaining({ assignment, sequence, digest }),
    ]);
  }
}

async function checkVersions(
  operator: Operator,
  { sent }: Witness,
  model: string,
  { rounds, updates }: { rounds: readonly Round[]; updates: ReadonlyMap<string, readonly Update[]> },
): Promise<void> {
  const versions = await operator.list<Version>(`/v1/models/${model}/versions`);
  expect(versions.map(({ version }) => version)).toEqual(versions.map((_, index) => index + 1));
  const published = rounds.filter((round) => round.model === model && round.version !== undefined);
  const training = published.filter(({ kind }) => kind === 'train');
  expect(versions.filter(({ round }) => round !== null).length, 'one version a round').toBe(training.length);
  const weights = new Map<number, Buffer>();
  for (const { version, parent, round, digest, bytes, downloads } of versions) {
    const file = (await operator.request({ method: 'GET', path: downloads[0]!.url })).bytes;
    expect({ digest: sha256(file), bytes: file.length }, `the file of version ${version}`).toEqual({
      digest,
      bytes,
    });
    const { data } = decodeFile(file);
    weights.set(version, data);
    if (round === null) continue;
    expect(parent, `the parent of version ${version}`).toBe(version - 1);
    expect(training.find(({ id }) => id === round)).toMatchObject({ version, baseVersion: parent });
    const folded = updates.get(round)!.filter(({ state }) => state === 'folded');
    const known = folded.map((update) => ({
      values: sent.get(update.digest)!.values,
      weight: update.weight,
    }));
    const expected = foldVersion(fromF32Bytes(weights.get(parent!)!), known);
    expect(sha256(data), `version ${version} is the fold of its ${folded.length} updates`).toBe(
      sha256(expected),
    );
  }
}

/** I8: a sweep has taken what was left of dead writers; there is one at the start of every worker. */
async function checkDrafts({ dataDir }: Service): Promise<void> {
  await waitUntil(
    'no draft is older than its limit',
    async () => (await listOldDrafts(dataDir)).length === 0,
  );
}

/** I9: what was logged holds no key, token or assertion, of devices, operators or the server. */
async function checkLogs(service: Service, { secrets }: Witness): Promise<void> {
  const logs = service.logs();
  expect(logs, 'the service logs').toMatch(/"level":/);
  const { keys } = JSON.parse(await readFile(join(service.dataDir, 'token-keys.json'), 'utf8')) as {
    keys: { d: string }[];
  };
  for (const secret of [...secrets, ...keys.map(({ d }) => d)]) {
    expect(logs.includes(secret), `a secret in the logs: ${secret.slice(0, 6)}...`).toBe(false);
  }
}
