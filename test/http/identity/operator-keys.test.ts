import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Principal } from '../../../api/domain/role.ts';
import { createOperatorKey, revokeOperatorKey } from '../../../api/services/identity/operator-keys.ts';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, jsonRequest, type TestApp } from '../../support/app.ts';
import { createFederation } from '../../support/identity/federations.ts';

let t: TestApp;
let operator: Record<string, string>;

beforeAll(async () => {
  t = await createTestApp();
  operator = await t.operator();
});
afterAll(() => t.close());

async function create(role: string, headers = operator) {
  const { status, body } = await answerOf(
    t.app.request('/v1/operator-keys', jsonRequest('POST', { name: `a ${role}`, role }, headers)),
  );
  return { status, id: body.id as string, headers: { authorization: `Bearer ${body.key}` }, body };
}

function revoke(id: string, headers = operator) {
  return answerOf(t.app.request(`/v1/operator-keys/${id}`, { method: 'DELETE', headers }));
}

function list(headers: Record<string, string>, app = t.app) {
  return answerOf(app.request('/v1/operator-keys?limit=200', { headers }));
}

describe('operator keys', () => {
  it('show their secret once and are stored as a hash', async () => {
    const created = await create('viewer');
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      key: expect.stringMatching(/^fedop_[\w-]{43}$/),
      name: 'a viewer',
      role: 'viewer',
      createdAt: t.clock.now().toISOString(),
    });
    const listed = await list(operator);
    expect(listed.body.items).toContainEqual({
      id: created.id,
      name: 'a viewer',
      role: 'viewer',
      createdAt: t.clock.now().toISOString(),
    });
    const rows = await t.deps.db.client`select * from operator_keys`;
    const secret = (created.body.key as string).slice('fedop_'.length);
    expect(JSON.stringify(rows) + JSON.stringify(listed.body)).not.toContain(secret);
  });

  it('give what their role grants', async () => {
    const read = (headers: Record<string, string>) => t.app.request('/v1/devices', { headers });
    for (const role of ['viewer', 'releaser'] as const) {
      const key = await create(role);
      expect((await read(key.headers)).status).toBe(200);
      expect((await list(key.headers)).body.code).toBe('forbidden');
      expect((await create('operator', key.headers)).body.code).toBe('forbidden');
      expect((await revoke(key.id, key.headers)).body.code).toBe('forbidden');
    }
    const other = await create('operator');
    expect((await list(other.headers)).status).toBe(200);
  });

  it.each([
    ['an unknown one', `fedop_${'A'.repeat(43)}`],
    ['one that is too short', `fedop_${'A'.repeat(42)}`],
    ['one that is too long', `fedop_${'A'.repeat(44)}`],
    ['one of other characters', `fedop_${'A'.repeat(42)}.`],
    ['the bare prefix', 'fedop_'],
  ])('are refused: %s', async (_, secret) => {
    expect(await list({ authorization: `Bearer ${secret}` })).toMatchObject({
      status: 401,
      body: { code: 'unauthorized' },
    });
  });

  it('are refused by their id, and by the hash that is stored', async () => {
    const key = await create('operator');
    const [row] = await t.deps.db.client`select secret_hash from operator_keys where id = ${key.id}`;
    for (const secret of [key.id, row!.secret_hash, `fedop_${row!.secret_hash}`]) {
      expect((await list({ authorization: `Bearer ${secret}` })).status).toBe(401);
    }
  });

  it('of an unknown role, or without a name, are not made', async () => {
    for (const body of [{ name: 'x', role: 'admin' }, { name: ' ', role: 'viewer' }, { role: 'viewer' }]) {
      const answer = await answerOf(t.app.request('/v1/operator-keys', jsonRequest('POST', body, operator)));
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    }
  });

  it('are refused on every replica once revoked', async () => {
    const other = await t.replica();
    const key = await create('operator');
    expect((await list(key.headers)).status).toBe(200);
    expect((await list(key.headers, other.app)).status).toBe(200);
    expect((await revoke(key.id)).status).toBe(204);
    expect((await revoke(key.id)).status).toBe(204);
    for (const app of [t.app, other.app]) {
      await vi.waitFor(async () => expect((await list(key.headers, app)).status).toBe(401));
    }
  });

  it('are refused within 15 s on a replica that hears of nothing', async () => {
    const deaf = await t.replica({ subscribe: () => () => {} });
    const key = await create('operator');
    expect((await list(key.headers, deaf.app)).status).toBe(200);
    await revoke(key.id);
    t.clock.advance(14_999);
    expect((await list(key.headers, deaf.app)).status).toBe(200);
    t.clock.advance(1);
    expect((await list(key.headers, deaf.app)).status).toBe(401);
  });

  it('of another federation are neither seen nor revoked', async () => {
    const foreign = await createFederation(t.deps, 'keys');
    const key = await create('viewer');
    expect((await list(foreign.headers)).body.items).toMatchObject([{ id: foreign.operatorKeyId }]);
    expect((await revoke(key.id, foreign.headers)).body.code).toBe('not_found');
    expect((await revoke(foreign.operatorKeyId)).body.code).toBe('not_found');
    expect((await revoke(randomUUID())).body.code).toBe('not_found');
  });

  it('have one effect for repeats with one Idempotency-Key', async () => {
    const headers = { ...operator, 'idempotency-key': randomUUID() };
    const [first, again] = [await create('viewer', headers), await create('viewer', headers)];
    expect(again.body).toEqual(first.body);
  });
});

describe('the last operator key', () => {
  it('stays', async () => {
    const foreign = await createFederation(t.deps, 'last');
    const last = { status: 409, body: { code: 'conflict', reason: 'last_operator_key' } };
    expect(await revoke(foreign.operatorKeyId, foreign.headers)).toMatchObject(last);
    const viewer = await create('viewer', foreign.headers);
    expect(await revoke(foreign.operatorKeyId, foreign.headers)).toMatchObject(last);
    expect((await revoke(viewer.id, foreign.headers)).status).toBe(204);
    const second = await create('operator', foreign.headers);
    expect((await revoke(foreign.operatorKeyId, second.headers)).status).toBe(204);
    expect(await revoke(second.id, second.headers)).toMatchObject(last);
  });

  it('stays when all are revoked at the same moment', async () => {
    const federationId = 'all at once';
    const { operatorKeyId } = await createFederation(t.deps, federationId);
    const principal: Principal = { kind: 'operator', id: operatorKeyId, federationId, role: 'operator' };
    const input = { name: 'rival', role: 'operator' } as const;
    const rivals = await Promise.all([1, 2, 3].map(() => createOperatorKey(t.deps, principal, input)));
    const ids = [operatorKeyId, ...rivals.map(({ key }) => key.id)];
    const { client } = t.deps.db;
    // Nobody can write until all have come as far as they get: a count that was not locked would be of four.
    const revoking = await client.begin(async (sql) => {
      await sql`lock table operator_keys in share mode`;
      const started = Promise.allSettled(ids.map((id) => revokeOperatorKey(t.deps, principal, id)));
      await vi.waitFor(async () => {
        const waiting = await client`
          select pid from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`;
        expect(waiting).toHaveLength(ids.length);
      });
      return { started };
    });
    const outcomes = await revoking.started;
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused).toMatchObject([{ reason: { code: 'conflict' } }]);
  });
});
