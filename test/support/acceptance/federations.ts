import { type Assignment, type Device, enrolDevice, type Receipt } from './devices.ts';
import { createOperator, type Operator, type Round, type Run } from './operators.ts';
import { expectStatus, rawHeaders, sha256 } from './requests.ts';
import type { Service } from './services.ts';
import { type Layout, type MadeUpdate, makeUpdate, makeWeights } from './updates.ts';
import { waitFor, waitUntil } from './waiting.ts';

export const layout: readonly Layout[] = [
  { name: 'kernel', shape: [32, 8] },
  { name: 'bias', shape: [8] },
];

/** What a test knows of a service because it did it, to hold against what the service says. */
export interface Witness {
  /** By the digest of the file. */
  readonly sent: Map<string, MadeUpdate>;
  /** The first receipt of each assignment. */
  readonly receipts: Map<string, Receipt>;
  readonly secrets: Set<string>;
}

/** A federation whose devices do what the test says. */
export interface Federation {
  readonly service: Service;
  readonly operator: Operator;
  readonly witness: Witness;
  readonly devices: readonly Device[];
  enrol(count: number, options?: EnrolOptions): Promise<Device[]>;
  /** A model with its first version. */
  createModel(name: string): Promise<void>;
  startRun(model: string, settings?: Record<string, unknown>): Promise<Run>;
  run(id: string): Promise<Run>;
  rounds(run: string): Promise<Round[]>;
  /** Waits until the run is over. */
  finish(run: string): Promise<Run>;
  /** Waits until nothing is open: every round is over, and every run that is not paused. */
  settle(): Promise<void>;
  /** Who is invited to train in the run's newest round, once so many are. */
  invitedTo(run: string, count: number): Promise<{ device: Device; assignment: Assignment }[]>;
  /** Makes the update of an assignment: the same one however often it is asked. */
  train(assignment: Assignment): Promise<MadeUpdate>;
  /** Sends it until it is answered and keeps the receipt. Undefined: it was refused. */
  contribute(device: Device, assignment: Assignment): Promise<Receipt | undefined>;
  /** Devices poll and contribute until `stop`, which gives way to no error. */
  work(devices?: readonly Device[]): { stop(): Promise<void> };
}

export interface EnrolOptions {
  url?: () => string;
  labels?: Record<string, string>;
}

/** Rounds of two to four that end within seconds whatever happens, and last over the restart of a busy machine. */
const quickRun = {
  rounds: 2,
  quorum: 2,
  capacity: 4,
  deadlineMs: 10_000,
  pendingMs: 10_000,
  presenceMs: 60_000,
  maxFailedRounds: 5,
  seed: 7,
};

export async function createFederation(service: Service, deviceCount = 3): Promise<Federation> {
  const operator = createOperator(service);
  const witness: Witness = {
    sent: new Map(),
    receipts: new Map(),
    secrets: new Set([service.operatorKey]),
  };
  const devices: Device[] = [];

  const federation: Federation = {
    service,
    operator,
    witness,
    devices,
    async enrol(count, { url = service.url, labels = {} } = {}) {
      const token = await operator.post<{ token: string }>('/v1/enrollment-tokens', {
        name: 'acceptance',
        labels,
        maxUses: count,
      });
      witness.secrets.add(token.token);
      const options = {
        url,
        publicUrl: service.publicUrl,
        enrollmentToken: token.token,
        secrets: witness.secrets,
      };
      const enrolled = await Promise.all(
        Array.from({ length: count }, (_, i) => {
          const name = `device ${devices.length + i + 1}`;
          return enrolDevice({ ...options, name, algorithm: i % 2 === 0 ? 'EdDSA' : 'ES256' });
        }),
      );
      devices.push(...enrolled);
      return enrolled;
    },
    async createModel(name) {
      await operator.post('/v1/models', { name, manifest: { tensors: layout } });
      const body = makeWeights(layout, 1);
      const path = `/v1/models/${name}/versions`;
      expectStatus(
        await operator.request({ method: 'POST', path, body, headers: rawHeaders(body) }),
        200,
        201,
      );
    },
    startRun: (model, settings = {}) => operator.post<Run>('/v1/runs', { model, ...quickRun, ...settings }),
    run: (id) => operator.get<Run>(`/v1/runs/${id}`),
    rounds: (run) => operator.list<Round>(`/v1/runs/${run}/rounds`),
    finish: (id) =>
      waitFor(`run ${id} is over`, async () => {
        const run = await federation.run(id);
        return ['completed', 'stopped', 'failed'].includes(run.state) ? run : undefined;
      }),
    settle: () =>
      waitUntil('every round and every unpaused run is over', async () => {
        const runs = await operator.list<Run>('/v1/runs');
        const rounds = await Promise.all(runs.map(({ id }) => federation.rounds(id)));
        const open = rounds.flat().filter(({ state }) => state !== 'completed' && state !== 'failed');
        return open.length === 0 && runs.every(({ state }) => state !== 'active');
      }),
    invitedTo: (run, count) =>
      waitFor(`${count} devices are invited`, async () => {
        const found: { device: Device; assignment: Assignment }[] = [];
        for (const device of devices) {
          const assignment = await device.poll(0);
          if (assignment?.run === run && assignment.kind === 'train') found.push({ device, assignment });
        }
        return found.length >= count ? found : undefined;
      }),
    async train({ id }) {
      const made = makeUpdate(layout, Number.parseInt(sha256(Buffer.from(id)).slice(0, 8), 16));
      witness.sent.set(sha256(made.file), made);
      return made;
    },
    async contribute(device, assignment) {
      await device.download(assignment);
      const { file } = await federation.train(assignment);
      const answer = await device.putUpdate(assignment, file);
      if (answer.status === 409 || answer.status === 403) return undefined;
      const receipt = expectStatus<Receipt>(answer, 200, 201);
      keepReceipt(witness, receipt);
      return receipt;
    },
    work(workers = devices) {
      const stopping = new AbortController();
      const loops = workers.map((device) => workUntil(federation, device, stopping.signal));
      // Looked at in `stop`, and not before: an error there must not end the whole process.
      for (const loop of loops) loop.catch(() => undefined);
      return {
        async stop() {
          stopping.abort();
          await Promise.all(loops);
        },
      };
    },
  };
  if (deviceCount > 0) await federation.enrol(deviceCount);
  return federation;
}

/** A repeat gets the first receipt: everything but the status is the same. */
export function keepReceipt({ receipts }: Witness, receipt: Receipt): void {
  const first = receipts.get(receipt.assignment);
  if (!first) receipts.set(receipt.assignment, receipt);
  else if (JSON.stringify({ ...first, status: '' }) !== JSON.stringify({ ...receipt, status: '' })) {
    throw new Error(`two receipts: ${JSON.stringify(first)} and ${JSON.stringify(receipt)}`);
  }
}

async function workUntil(federation: Federation, device: Device, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const assignment = await device.poll(5, signal).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    if (!assignment) continue;
    if (assignment.kind === 'train') await federation.contribute(device, assignment);
    else await device.putEvaluation(assignment, 10, { accuracy: 0.5 });
  }
}
