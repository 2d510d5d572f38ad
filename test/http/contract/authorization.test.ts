import { createHash } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grantsRole, type Policy, type Role, roles } from '../../../api/domain/role.ts';
import {
  buildDocument,
  type DocumentOperation,
  listOperations,
} from '../../../api/http/contract/document.ts';
import { assignments } from '../../../api/store/schema.ts';
import { createDocumentApp } from '../../../scripts/document-app.ts';
import { createTestApp, type EnrolledDevice, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createObjects, type ObjectIds } from '../../support/objects.ts';

/*
 * Generated from the document: every operation with every kind of caller, on objects of its own federation, of another
 * one and, where a device acts, of another device.
 */

const operations = listOperations(buildDocument(createDocumentApp()))
  .map((found) => ({ ...found, name: `${found.method.toUpperCase()} ${found.path}` }))
  .filter(({ operation }) => operation['x-policy'] !== 'public');
type Operation = (typeof operations)[number];
type Caller = Role | 'device';

const callers: readonly Caller[] = [...roles, 'device'];
const grants = (policy: Policy, caller: Caller): boolean => {
  if (policy === 'member') return true;
  if (policy === 'device' || caller === 'device') return policy === caller;
  return policy !== 'public' && grantsRole(caller, policy);
};

let test: TestApp;
let device: EnrolledDevice;
let headers: Record<Caller, RequestHeaders>;
let foreign: ObjectIds;
let neighbours: ObjectIds;

beforeAll(async () => {
  test = await createTestApp();
  device = await test.enrolDevice();
  headers = {
    viewer: await test.operator('viewer'),
    operator: await test.operator('operator'),
    releaser: await test.operator('releaser'),
    device: device.headers,
  };
  foreign = await createObjects(test.deps, 'other');
  neighbours = await createObjects(test.deps, 'default');
});
afterAll(() => test?.close());

/** Fresh objects of the caller's federation; the assignment and its upload are the calling device's. */
async function createOwn(): Promise<ObjectIds> {
  const { pool } = test.deps.db;
  await pool
    .update(assignments)
    .set({ state: 'expired' })
    .where(and(eq(assignments.deviceId, device.id), eq(assignments.state, 'open')));
  return createObjects(test.deps, 'default', { deviceId: device.id });
}

/** The request of the document's own example. */
function requestOf({ method, path, operation }: Operation, ids: ObjectIds, credentials: object) {
  const url = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => {
    if (name in ids) return ids[name as keyof ObjectIds];
    throw new Error(`no object for {${name}}: add it to test/support/objects.ts`);
  });
  const body = bodyOf(operation);
  const shown = (operation.parameters ?? [])
    .filter((parameter) => parameter.in === 'header' && parameter.name !== 'Idempotency-Key')
    .map(({ name, schema, example }) => [name, String(example ?? schema.example ?? schema.enum?.[0])]);
  const init = {
    method: method.toUpperCase(),
    headers: { ...Object.fromEntries(shown), ...body?.headers, ...credentials },
    ...(body ? { body: body.bytes } : {}),
  };
  return [url, init] as const;
}

function bodyOf({ requestBody, operationId }: DocumentOperation) {
  const [media, content] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  if (media === undefined || content === undefined) return undefined;
  const isJson = media === 'application/json';
  const bytes = new Uint8Array(
    Buffer.from(isJson ? JSON.stringify(exampleFor(operationId, content.example)) : 'not a tensor file'),
  );
  const digest = `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
  const raw = { 'content-digest': digest, 'repr-digest': digest };
  return {
    bytes,
    headers: { 'content-type': media, 'content-length': String(bytes.length), ...(isJson ? {} : raw) },
  };
}

/** Examples name objects that are not there. */
function exampleFor(operationId: string, example: unknown): unknown {
  return operationId === 'createRun' ? { ...(example as object), model: neighbours.model } : example;
}

async function ask(operation: Operation, ids: ObjectIds, credentials: object) {
  const response = await test.app.request(...requestOf(operation, ids, credentials));
  const isProblem = response.headers.get('content-type') === 'application/problem+json';
  const code =
    isProblem && operation.method !== 'head' ? ((await response.json()) as { code: string }).code : '';
  if (!isProblem) await response.body?.cancel();
  return { status: response.status, code };
}

/** A HEAD has no body to tell the code in. */
const refusal = ({ method }: Operation, status: number, code: string) => ({
  status,
  code: method === 'head' ? '' : code,
});
const namesAnObject = ({ path }: Operation) => path.includes('{');

describe.each(operations)('$name', (operation) => {
  const policy = operation.operation['x-policy'] as Policy;

  it('refuses who has no valid credentials', async () => {
    const strangers = ['', 'Bearer', 'Bearer x', `Bearer fedop_${'A'.repeat(43)}`, 'Basic eDp5'];
    expect(await ask(operation, neighbours, {})).toEqual(refusal(operation, 401, 'unauthorized'));
    for (const authorization of strangers) {
      expect(await ask(operation, neighbours, { authorization }), authorization).toMatchObject({
        status: 401,
      });
    }
  });

  it.each(callers.filter((caller) => !grants(policy, caller)))('refuses a %s', async (caller) => {
    expect(await ask(operation, neighbours, headers[caller])).toEqual(refusal(operation, 403, 'forbidden'));
  });

  it.each(callers.filter((caller) => grants(policy, caller)))('lets a %s in', async (caller) => {
    const { status, code } = await ask(operation, await createOwn(), headers[caller]);
    expect(status, code).toBeLessThan(500);
    expect(status).not.toBe(401);
    expect(['forbidden', 'not_found', 'invalid_request']).not.toContain(code);
  });

  if (!namesAnObject(operation)) return;

  it.each(callers.filter((caller) => grants(policy, caller)))(
    'hides what belongs to another federation from a %s',
    async (caller) => {
      expect(await ask(operation, foreign, headers[caller])).toEqual(refusal(operation, 404, 'not_found'));
    },
  );

  if (policy !== 'device') return;

  it('hides what belongs to another device', async () => {
    expect(await ask(operation, neighbours, device.headers)).toEqual(refusal(operation, 404, 'not_found'));
  });
});
