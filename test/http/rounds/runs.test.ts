import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { auditEntries, events, rounds } from '../../../api/store/schema.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createObjects, type ObjectIds } from '../../support/objects.ts';

interface Run {
  id: string;
  model: string;
  state: string;
  reason?: string;
  quorum: number;
  capacity: number;
  seed: number;
  endedAt?: string;
}

let test: TestApp;
let headers: RequestHeaders;
let ids: ObjectIds;

beforeAll(async () => {
  test = await createTestApp();
  headers = await test.operator();
});
afterAll(() => test?.close());
beforeEach(async () => {
  ids = await createObjects(test.deps, 'default');
});

const create = (body: object) => test.app.request('/v1/runs', jsonRequest('POST', body, headers));
const act = (action: string, id = ids.run) =>
  test.app.request(`/v1/runs/${id}/${action}`, { method: 'POST', headers });
const read = async <T>(path: string): Promise<T> =>
  (await (await test.app.request(path, { headers })).json()) as T;
const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;
const freshModel = async () => {
  const { run, model } = await createObjects(test.deps, 'default');
  await act('stop', run);
  return model;
};

describe('creating a run', () => {
  it('fills in what was left out and shows it', async () => {
    const response = await create({ model: await freshModel(), quorum: 3, hyperparameters: { epochs: 2 } });
    expect(response.status).toBe(201);
    const run = (await response.json()) as Run;
    expect(run).toMatchObject({ state: 'active', quorum: 3, capacity: 6, strategy: { name: 'fedavg' } });
    expect(run.seed).toBeGreaterThanOrEqual(0);
    expect(response.headers.get('location')).toBe(`/v1/runs/${run.id}`);
    expect(await read(`/v1/runs/${run.id}`)).toEqual(run);
  });

  it('lets one of many win on a model, on any replica', async () => {
    const model = await freshModel();
    const replica = await test.replica();
    const apps = [test.app, replica.app, test.app, replica.app, test.app, replica.app];
    const answers = await Promise.all(
      apps.map((app) => app.request('/v1/runs', jsonRequest('POST', { model }, headers))),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([201, 409, 409, 409, 409, 409]);
    const loser = answers.find(({ status }) => status === 409)!;
    expect(await codeOf(loser)).toBe('model_busy');
  });

  it.each([
    ['a strategy that is not there', { strategy: { name: 'magic' } }, 'magic'],
    [
      'a parameter that the strategy does not have',
      { strategy: { name: 'fedavg', parameters: { x: 1 } } },
      'x',
    ],
    ['a quorum over the capacity', { quorum: 5, capacity: 4 }, 'capacity'],
    [
      'an evaluate quorum over its capacity',
      { evaluate: { everyRounds: 1, quorum: 3, capacity: 2 } },
      'evaluate',
    ],
    ['an end in the past', { endAt: '2020-01-01T00:00:00.000Z' }, 'endAt'],
  ])('refuses %s, with the reason', async (_name, settings, word) => {
    const response = await create({ model: ids.model, ...settings });
    const problem = (await response.json()) as { status: number; code: string; reason: string };
    expect(problem).toMatchObject({ status: 422, code: 'invalid_run' });
    expect(problem.reason).toContain(word);
  });

  it.each([
    ['a member that it does not know', { rouns: 3 }],
    ['no rounds', { rounds: 0 }],
    ['half a round', { rounds: 1.5 }],
    ['a huge quorum', { quorum: 1e9 }],
    ['a nested hyperparameter', { hyperparameters: { a: { b: 1 } } }],
    ['a name with NUL', { name: 'a\0b' }],
    ['a half surrogate', { hyperparameters: { a: '\ud800' } }],
  ])('refuses %s', async (_name, settings) => {
    const response = await create({ model: ids.model, ...settings });
    expect([response.status, await codeOf(response)]).toEqual([400, 'invalid_request']);
  });

  it('needs a model of the federation with a version', async () => {
    expect(await codeOf(await create({ model: 'no-such-model' }))).toBe('not_found');
    const { model } = await createObjects(test.deps, 'elsewhere');
    expect(await codeOf(await create({ model }))).toBe('not_found');
    const manifest = { tensors: [{ name: 'w', shape: [1] }] };
    await test.app.request('/v1/models', jsonRequest('POST', { name: 'empty', manifest }, headers));
    expect(await codeOf(await create({ model: 'empty' }))).toBe('no_version');
  });
});

describe('pause, resume and stop', () => {
  it('move the run, and repeat without effect', async () => {
    const states = [];
    for (const action of ['pause', 'pause', 'resume', 'resume', 'stop', 'stop']) {
      states.push(((await (await act(action)).json()) as Run).state);
    }
    expect(states).toEqual(['paused', 'paused', 'active', 'active', 'stopped', 'stopped']);
    const audit = await test.deps.db.pool
      .select()
      .from(auditEntries)
      .where(eq(auditEntries.target, `run:${ids.run}`));
    expect(audit.map(({ action }) => action)).toEqual(['run.pause', 'run.resume', 'run.stop']);
    const told = (await test.deps.db.pool.select().from(events)).filter(
      ({ subject }) => subject.run === ids.run,
    );
    expect(told.map(({ type }) => type).filter((type) => type.startsWith('run.'))).toEqual([
      'run.paused',
      'run.resumed',
      'run.stopped',
    ]);
  });

  it('are refused with the state once the run is over', async () => {
    await act('stop');
    for (const action of ['pause', 'resume']) {
      const response = await act(action);
      expect(response.status).toBe(409);
      expect(await response.json()).toMatchObject({ code: 'conflict', state: 'stopped' });
    }
  });

  it('stop fails the open round and frees the model', async () => {
    const run = (await (await act('stop')).json()) as Run;
    expect(run).toMatchObject({ state: 'stopped', reason: 'stopped' });
    expect(run.endedAt).toBe(test.clock.now().toISOString());
    expect(await read(`/v1/rounds/${ids.round}`)).toMatchObject({
      state: 'failed',
      reason: 'run_stopped',
      openAssignments: 0,
    });
    expect((await create({ model: ids.model })).status).toBe(201);
  });

  it('stop leaves a round that aggregates alone', async () => {
    await test.deps.db.pool
      .update(rounds)
      .set({ state: 'aggregating', openAssignments: 0 })
      .where(eq(rounds.id, ids.round));
    await act('stop');
    expect(await read(`/v1/rounds/${ids.round}`)).toMatchObject({ state: 'aggregating' });
  });

  it('take one winner among contrary calls at once', async () => {
    const answers = await Promise.all(['stop', 'pause', 'stop', 'resume', 'pause'].map((one) => act(one)));
    expect(answers[0]!.status).toBe(200);
    expect(answers[2]!.status).toBe(200);
    expect(await read(`/v1/runs/${ids.run}`)).toMatchObject({ state: 'stopped' });
  });
});

describe('lists', () => {
  it('page through all runs of a model once, in either order', async () => {
    const model = await freshModel();
    for (let n = 0; n < 4; n += 1) {
      const run = (await (await create({ model })).json()) as Run;
      await act('stop', run.id);
    }
    const walk = async (order: string) => {
      const seen: string[] = [];
      let cursor = '';
      do {
        const query = `model=${model}&limit=2&order=${order}${cursor && `&cursor=${cursor}`}`;
        const page = await read<{ items: Run[]; nextCursor?: string }>(`/v1/runs?${query}`);
        seen.push(...page.items.map(({ id }) => id));
        cursor = page.nextCursor ?? '';
      } while (cursor);
      return seen;
    };
    const oldest = await walk('oldest');
    expect(new Set(oldest).size).toBe(5);
    expect(await walk('newest')).toEqual(oldest.reverse());
    const active = await read<{ items: Run[] }>(`/v1/runs?model=${model}&state=active`);
    expect(active.items).toEqual([]);
  });

  it('show the rounds of a run and the updates of a round', async () => {
    const { items } = await read<{ items: { id: string }[] }>(`/v1/runs/${ids.run}/rounds`);
    expect(items).toEqual([await read(`/v1/rounds/${ids.round}`)]);
    expect(await read(`/v1/runs/${ids.run}/rounds?kind=evaluate`)).toEqual({ items: [] });
    expect(await read(`/v1/rounds/${ids.round}/updates`)).toEqual({ items: [] });
  });

  it('refuse a cursor that is not theirs', async () => {
    const response = await test.app.request('/v1/runs?cursor=abc', { headers });
    expect([response.status, await codeOf(response)]).toEqual([400, 'invalid_cursor']);
  });
});
