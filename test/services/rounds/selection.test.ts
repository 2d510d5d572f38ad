import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DeviceProperties, Labels } from '../../../api/domain/device.ts';
import type { Selection } from '../../../api/domain/run.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import {
  createTestWorker,
  openAssignments,
  seedDevices,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
beforeAll(async () => {
  test = await createTestApp();
});
afterAll(() => test.close());

const ones = Array<number>(8).fill(1);
const hostile = [
  `quote' or 1=1 --`,
  'double "quote"',
  'back\\slash',
  '{"site":"a"}',
  '$1',
  '%s ? ?| ?& @>',
  'newline\nand tab\t',
  'Ünïcödé 🦔',
  '__proto__',
];

/** How many of the devices a run with this selection invites. */
async function countInvited(selection: Selection, seen: { labels?: Labels; properties?: object }[]) {
  // The tests share a database: a label keeps each with its own devices.
  const only = { test: randomUUID() };
  const { runId } = await seedFederation(test.deps, {
    devices: 0,
    settings: { quorum: 1, capacity: 50, selection },
    labels: { ...selection.labels, ...only },
  });
  for (const { labels = {}, properties = {} } of seen) {
    await seedDevices(test.deps, 1, {
      labels: { ...labels, ...only },
      properties: properties as DeviceProperties,
    });
  }
  await advanceRounds(test.deps);
  const [round] = await view.rounds(test.deps, runId);
  return round!.population;
}

describe('labels', () => {
  it('have to be there, all that are selected', async () => {
    const seen = [
      { labels: { site: 'a', kind: 'meter' } },
      { labels: { site: 'a' } },
      { labels: { site: 'b', kind: 'meter' } },
      {},
    ];
    expect(await countInvited({ labels: { site: 'a', kind: 'meter' } }, seen)).toBe(1);
  });

  it.each(hostile)('are compared as they are: %j', async (text) => {
    const seen = [{ labels: { [text]: text } }, { labels: { [text]: 'other' } }, { labels: { other: text } }];
    expect(await countInvited({ labels: { [text]: text } }, seen)).toBe(1);
  });
});

describe('properties', () => {
  const properties = (...list: object[]) => list.map((one) => ({ properties: one }));

  it.each<[string, Selection, object[], number]>([
    ['memory, where it is reported', { minMemoryMb: 512 }, [{ memoryMb: 512 }, { memoryMb: 511 }, {}], 1],
    ['battery', { minBattery: 0.3 }, [{ battery: 0.3 }, { battery: 0.29 }, { battery: 1 }], 2],
    ['a low battery that charges', { minBattery: 0.3 }, [{ battery: 0.1, charging: true }], 1],
    ['a low battery that does not say', { minBattery: 0.3 }, [{ battery: 0.1 }, { battery: 0.9 }], 1],
    ['no battery', { minBattery: 0.3 }, [{}], 1],
    ['charging', { chargingOnly: true }, [{ charging: true }, { charging: false }, {}], 2],
    ['metering', { unmeteredOnly: true }, [{ metered: true }, { metered: false }, {}], 2],
    ['all of them', { minMemoryMb: 1, chargingOnly: true }, [{ memoryMb: 2, charging: false }, {}], 0],
  ])('select by %s', async (_name, selection, list, invited) => {
    expect(await countInvited(selection, properties(...list))).toBe(invited);
  });

  it('of a type that nobody expects fail no query', async () => {
    const odd = ['512', null, true, [], {}, 'NaN'].map((value) => ({
      memoryMb: value,
      battery: value,
      charging: value,
      metered: value,
      models: value,
    }));
    const selection = { minMemoryMb: 1, minBattery: 0.1, chargingOnly: true, unmeteredOnly: true };
    const good = { memoryMb: 2, battery: 1, charging: true, metered: false };
    expect(await countInvited(selection, properties(...odd, good))).toBe(1);
  });
});

it('models that a device has data for: those that it names, all where it names none', async () => {
  const { modelId, runId } = await seedFederation(test.deps, {
    devices: 0,
    settings: { quorum: 3 },
    labels: { test: 'models' },
  });
  const { name } = await view.model(test.deps, modelId);
  for (const models of [[name], ['other', name], undefined, ['other'], [], [`${name}x`]]) {
    await seedDevices(test.deps, 1, { properties: models ? { models } : {}, labels: { test: 'models' } });
  }
  await advanceRounds(test.deps);
  expect((await view.rounds(test.deps, runId))[0]).toMatchObject({ state: 'collecting', population: 3 });
});

it.each([
  ['not heard of for presenceMs', 60_000, [0, 59_999, 60_000, 100_000]],
  ['that cannot be waiting, where presenceMs is shorter than a touch', 1000, [0, 24_999, 25_000, 60_000]],
])('devices %s are not invited', async (_name, presenceMs, ages) => {
  const now = test.clock.now().getTime();
  const labels = { test: `presence ${presenceMs}` };
  const settings = { quorum: 2, presenceMs };
  const { runId } = await seedFederation(test.deps, { devices: 0, settings, labels });
  for (const ago of ages) await seedDevices(test.deps, 1, { lastSeenAt: new Date(now - ago), labels });
  await advanceRounds(test.deps);
  expect((await view.rounds(test.deps, runId))[0]).toMatchObject({ state: 'collecting', population: 2 });
});

it('a device has one open assignment of a kind, whatever the runs', async () => {
  const labels = { site: 'shared' };
  const one = await seedFederation(test.deps, { devices: 3, settings: { quorum: 3, capacity: 3 }, labels });
  await advanceRounds(test.deps);
  const two = await seedFederation(test.deps, { devices: 0, settings: { quorum: 1 }, labels });
  await advanceRounds(test.deps);
  expect((await view.rounds(test.deps, two.runId))[0]).toMatchObject({ state: 'pending' });
  const [first] = await openAssignments(test.deps, one.devices);
  await sendUpdate(test.deps, first!, ones);
  await advanceRounds(test.deps);
  expect((await view.rounds(test.deps, two.runId))[0]).toMatchObject({ state: 'collecting', invited: 1 });
  expect(
    (await view.assignments(test.deps, (await view.rounds(test.deps, two.runId))[0]!.id))[0],
  ).toMatchObject({
    deviceId: first!.device.id,
  });
});

describe('how many are invited', () => {
  type Play = (index: number) => 'answer' | 'give back';

  /** The targets of so many rounds, in which a device does what `play` says of its place among the invited. */
  async function targetsOf(rounds: number, play: Play): Promise<number[]> {
    const worker = createTestWorker(test.deps);
    const settings = { rounds, quorum: 4, capacity: 4, maxFailedRounds: 100 };
    const labels = { test: randomUUID() };
    const { devices, runId } = await seedFederation(test.deps, { devices: 200, settings, labels });
    for (let i = 0; i < rounds; i += 1) {
      await worker.turn(2);
      const open = await openAssignments(test.deps, devices);
      for (const [index, { device, id }] of open.entries()) {
        const playing =
          play(index) === 'answer'
            ? sendUpdate(test.deps, { id, device }, ones)
            : returnAssignment(test.deps, device, id, 'busy');
        // The round may have been filled before it was this one's turn.
        await playing.catch(({ code }) => expect(['full', 'assignment_settled']).toContain(code));
      }
      await worker.turn(2);
    }
    await worker.close();
    return (await view.rounds(test.deps, runId)).map(({ target }) => target);
  }

  it('falls when nobody drops out: who was at work when the round filled did not', async () => {
    const targets = await targetsOf(8, () => 'answer');
    expect(targets[0]).toBe(10);
    expect(targets).toEqual(targets.toSorted((a, b) => b - a));
    expect(targets.at(-1)).toBeLessThan(10);
  });

  it('grows with the drop-out that was seen', async () => {
    const targets = await targetsOf(4, (index) => (index % 2 === 0 ? 'give back' : 'answer'));
    expect(targets[0]).toBe(10);
    expect(targets[3]).toBeGreaterThan(10);
  });
});
