import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Round, Run, Update } from '../../support/acceptance/operators.ts';
import { rememberCluster, startProgram, stopCluster } from '../../support/acceptance/programs.ts';
import { type Service, startHost, startServer } from '../../support/acceptance/services.ts';
import { createDatabase, type ReplicaDatabase } from '../../support/acceptance/surroundings/databases.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let folder: string;
const opened: { close(): Promise<void> }[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-backup-'));
  await chmod(folder, 0o755);
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function runBackup(args: string[], env: Record<string, string>) {
  const program = startProgram(['api/backup.ts', ...args], env);
  const { code } = await program.ended;
  return { code, output: program.output('stdout') + program.output('stderr') };
}

/** The assignments whose updates the server knows of. */
async function knownAssignments({ operator }: Federation): Promise<Set<string>> {
  const known = new Set<string>();
  for (const run of await operator.list<Run>('/v1/runs')) {
    for (const round of await operator.list<Round>(`/v1/runs/${run.id}/rounds`)) {
      const updates = await operator.list<Update>(`/v1/rounds/${round.id}/updates`);
      for (const { assignment } of updates) known.add(assignment);
    }
  }
  return known;
}

/** The environment in which a service runs, and an empty one that a backup is restored into. */
interface Form {
  start(): Promise<Service>;
  /** Of the program that makes the backup. */
  env(service: Service): Record<string, string>;
  empty(): Promise<{ dataDir: string; env: Record<string, string> }>;
}

async function emptyFolder(): Promise<string> {
  const dataDir = await mkdtemp(join(folder, 'restored-'));
  await chmod(dataDir, 0o755);
  rememberCluster(dataDir);
  opened.push({ close: () => stopCluster(dataDir) });
  return dataDir;
}

const embedded: Form = {
  start: () => startServer(),
  env: ({ dataDir }) => ({ FEDEDGE_DATA_DIR: dataDir }),
  async empty() {
    const dataDir = await emptyFolder();
    return { dataDir, env: { FEDEDGE_DATA_DIR: dataDir } };
  },
};

function external(): Form {
  let original: ReplicaDatabase;
  const make = async () => {
    const database = await createDatabase();
    opened.push({ close: database.drop });
    return database;
  };
  return {
    async start() {
      original = await make();
      return startHost(original.env);
    },
    env: ({ dataDir }) => ({ ...original.env, FEDEDGE_DATA_DIR: dataDir }),
    async empty() {
      const [dataDir, database] = [await emptyFolder(), await make()];
      return { dataDir, env: { ...database.env, FEDEDGE_DATA_DIR: dataDir } };
    },
  };
}

describe.each([
  ['embedded', () => embedded],
  ['external', external],
] as const)('a backup of the %s form', (name, makeForm) => {
  it('is made while it trains, restored into nothing, and goes on', {
    timeout: 180_000,
  }, async () => {
    const form = makeForm();
    const file = join(folder, `${name}.tar`);
    let service = await form.start();
    opened.push({ close: () => service.close() });
    const handle: Service = {
      ...service,
      get dataDir() {
        return service.dataDir;
      },
      url: () => service.url(),
      logs: () => service.logs(),
    };
    const federation = await createFederation(handle, 4);
    await federation.createModel('kept');
    const work = federation.work();
    // More rounds than the drill can last, however quick the machine: the run has to be going on at its end.
    const endless = { rounds: 100_000, maxFailedRounds: 1000 };
    const run = await federation.startRun('kept', { ...endless, retainUpdates: true });
    await waitUntil('it trains', async () => (await federation.run(run.id)).completedRounds >= 2);
    const before = new Set(federation.witness.receipts.keys());
    const made = await runBackup(['backup', '--to', file], form.env(service));
    expect(made).toMatchObject({
      code: 0,
      output: expect.stringMatching(/backed up: \d+ tables, \d+ blobs/),
    });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readdir(folder)).filter((entry) => entry.endsWith('.partial'))).toEqual([]);
    const { completedRounds } = await federation.run(run.id);
    await waitUntil(
      'it trains on',
      async () => (await federation.run(run.id)).completedRounds > completedRounds,
    );
    await federation.operator.post(`/v1/runs/${run.id}/stop`);
    await work.stop();
    await service.close();

    const { dataDir, env } = await form.empty();
    expect(await runBackup(['restore', '--from', file], env)).toMatchObject({ code: 0 });
    const again = await runBackup(['restore', '--from', file], env);
    expect(again).toMatchObject({ code: 1, output: expect.stringContaining('into an empty database') });
    const restored = await (name === 'embedded' ? startServer : startHost)(env);
    service = { ...restored, dataDir };
    const known = await knownAssignments(federation);
    expect([...before].filter((assignment) => !known.has(assignment))).toEqual([]);
    // What was acknowledged after the backup is undone by the restore: a device may send it again, for another receipt.
    for (const assignment of federation.witness.receipts.keys()) {
      if (!known.has(assignment)) federation.witness.receipts.delete(assignment);
    }
    const there = await federation.run(run.id);
    expect(there.state).toBe('active');
    const newWork = federation.work();
    await waitUntil(
      'the run goes on',
      async () => (await federation.run(run.id)).completedRounds > there.completedRounds + 1,
    );
    await federation.operator.post(`/v1/runs/${run.id}/stop`);
    await newWork.stop();
    await federation.settle();
    await checkInvariants({ ...federation, service: handle });
  });
});

it('is refused where it is damaged, cut off or not there, before anything is written', async () => {
  const service = await startServer();
  opened.push(service);
  await (await createFederation(service, 0)).createModel('kept');
  const whole = join(folder, 'whole.tar');
  expect(await runBackup(['backup', '--to', whole], embedded.env(service))).toMatchObject({ code: 0 });
  const bytes = await readFile(whole);
  const damaged = Buffer.from(bytes);
  // In the head of a tensor file: elsewhere it might hit the padding of the archive, which nobody misses.
  damaged.write('D', damaged.lastIndexOf('data_offsets'));
  const refused: [name: string, content: Buffer | undefined, says: RegExp][] = [
    ['damaged.tar', damaged, /damaged/],
    ['cut.tar', bytes.subarray(0, bytes.length / 2), /cannot be read: the archive is cut off/],
    ['nothing.tar', undefined, /cannot be read/],
  ];
  const { env, dataDir } = await embedded.empty();
  for (const [name, content, says] of refused) {
    const file = join(folder, name);
    if (content) await writeFile(file, content);
    const result = await runBackup(['restore', '--from', file], env);
    expect(result).toMatchObject({ code: 1, output: expect.stringMatching(says) });
    const files = await readdir(dataDir);
    const ofTheDatabase = ['database', 'owner', 'postgres.log'];
    expect(files.filter((file) => !ofTheDatabase.includes(file))).toEqual([]);
  }
  expect(await runBackup(['restore', '--from', whole], env), 'the target is as it was').toMatchObject({
    code: 0,
  });
});
