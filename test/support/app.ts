import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { loadConfig } from '../../api/config.ts';
import type { Deps } from '../../api/deps.ts';
import type { Role } from '../../api/domain/role.ts';
import { createApp } from '../../api/http/app.ts';
import { createKernels } from '../../api/kernels/kernels.ts';
import { createMetrics } from '../../api/metrics/metrics.ts';
import { systemPrincipal } from '../../api/services/identity/actors.ts';
import {
  createEnrollmentToken,
  type EnrollmentTokenInput,
} from '../../api/services/identity/enrollment-tokens.ts';
import { ensureFederation } from '../../api/services/identity/federation.ts';
import { createOperatorKey } from '../../api/services/identity/operator-keys.ts';
import { loadTokenKeys } from '../../api/services/identity/token-keys.ts';
import { createFileBlobs } from '../../api/store/blobs/file-blobs.ts';
import { openDatabase } from '../../api/store/database.ts';
import { createCredentialCache } from '../../api/store/identity/credential-cache.ts';
import { type Listener, startListener } from '../../api/store/journal/listener.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { createTestClock, type TestClock } from './clock.ts';
import { createDeviceKey, type DeviceKey, signAssertion, signProof } from './identity/device-keys.ts';
import { createTestDatabase } from './postgres.ts';

type App = ReturnType<typeof createApp>;
export type RequestHeaders = { authorization: string };

/** A device that has registered and holds an access token of the test clock's time. */
export interface EnrolledDevice {
  id: string;
  headers: RequestHeaders;
  key: DeviceKey;
  /** Fresh headers, for when the clock has moved past the token's 10 minutes. */
  renew(): Promise<RequestHeaders>;
}

export interface TestApp {
  app: App;
  deps: Deps;
  clock: TestClock;
  /** Headers of a fresh operator key with this role. */
  operator(role?: Role): Promise<RequestHeaders>;
  /** The secret of a fresh enrolment token; 1,000 uses, a day, no approval unless said otherwise. */
  enrollmentToken(input?: Partial<EnrollmentTokenInput>): Promise<string>;
  /** Registers over HTTP and gets a token. */
  enrolDevice(input?: EnrolInput): Promise<EnrolledDevice>;
  /**
   * Another replica: the same database, blobs, clock and signing keys; connections and caches of its own. It hears of
   * changed credentials by `credentials` if that is given.
   */
  replica(credentials?: Pick<Listener, 'subscribe'>): Promise<{ app: App; deps: Deps }>;
  close(): Promise<void>;
}

export interface EnrolInput {
  name?: string;
  properties?: Record<string, unknown>;
  token?: Partial<EnrollmentTokenInput>;
  algorithm?: DeviceKey['algorithm'];
}

/**
 * The API on a database and data folder of its own, and a clock that stands still until it is moved. Ask it by
 * `app.request(path, init)`; `close()` it in afterAll. `overrides` replace what it would put into `deps`.
 */
export async function createTestApp(overrides: Partial<Deps> = {}): Promise<TestApp> {
  const dataDir = await mkdtemp(join(tmpdir(), 'fededge-app-'));
  const database = await createTestDatabase({ migrate: migrateDatabase });
  const clock = createTestClock();
  const stopping = new AbortController();
  const kernels = createKernels();
  const opened: Deps['db'][] = [];

  async function createDeps(shared: Partial<Deps> = {}): Promise<Deps> {
    const db = openDatabase(database.connection, { connections: 8 });
    opened.push(db);
    const listener = await startListener(db);
    return {
      config: loadConfig({ FEDEDGE_DATA_DIR: dataDir }),
      publicUrl: 'https://fededge.test',
      db,
      listener,
      blobs: createFileBlobs({ dir: join(dataDir, 'blobs') }),
      clock,
      keys: shared.keys ?? (await loadTokenKeys({ dataDir })),
      credentials: createCredentialCache(listener),
      issuers: new Map(),
      log: pino({ level: 'silent' }),
      metrics: createMetrics({ version: 'test', role: 'server' }),
      createScanner: () => kernels.createScanner(),
      stopping: stopping.signal,
      failpoint: async () => {},
      ...overrides,
    };
  }

  const deps = await createDeps();
  await ensureFederation(deps);
  const app = createApp(deps);
  const enrollmentToken = (input?: Partial<EnrollmentTokenInput>) => makeEnrollmentToken(deps, input);
  return {
    app,
    deps,
    clock,
    operator: async (role = 'operator') => {
      const { secret } = await createOperatorKey(deps, systemPrincipal, { name: `test ${role}`, role });
      return bearer(secret);
    },
    enrollmentToken,
    enrolDevice: async (input = {}) => enrol(app, deps, await enrollmentToken(input.token), input),
    replica: async (credentials) => {
      const other = await createDeps({ keys: deps.keys });
      if (credentials) other.credentials = createCredentialCache(credentials);
      return { app: createApp(other), deps: other };
    },
    close: async () => {
      stopping.abort();
      await Promise.all(opened.map((db) => db.close()));
      await database.drop();
      await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** An init for `app.request` with a JSON body. */
export function jsonRequest(
  method: string,
  body: unknown,
  headers: Record<string, string> = {},
): RequestInit {
  return { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } };
}

/** Asks for an access token; `claims` replace those of a good assertion. */
export async function requestToken(
  app: App,
  deps: Deps,
  device: { id: string; key: DeviceKey },
  claims: Record<string, unknown> = {},
): Promise<Response> {
  const assertion = await signAssertion(device.key, {
    aud: `${deps.publicUrl}/v1/token`,
    deviceId: device.id,
    now: deps.clock.now(),
    claims,
  });
  return sendAssertion(app, assertion);
}

export async function sendAssertion(app: App, assertion: string): Promise<Response> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
  return app.request('/v1/token', {
    method: 'POST',
    body: form.toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
}

/** The body of a registration that holds; `claims` replace those of its proof. */
export async function registrationOf(
  deps: Deps,
  key: DeviceKey,
  enrollmentToken: string,
  input: { name?: string; properties?: Record<string, unknown>; claims?: Record<string, unknown> } = {},
) {
  const proof = await signProof(key, {
    aud: deps.publicUrl,
    now: deps.clock.now(),
    enrollmentToken,
    claims: input.claims ?? {},
  });
  const name = input.name ?? `device ${randomUUID().slice(0, 8)}`;
  return { enrollmentToken, key: key.jwk, name, properties: input.properties ?? {}, proof };
}

async function makeEnrollmentToken(deps: Deps, input: Partial<EnrollmentTokenInput> = {}): Promise<string> {
  const { secret } = await createEnrollmentToken(deps, systemPrincipal, {
    name: 'test',
    labels: {},
    requiresApproval: false,
    maxUses: 1000,
    expiresInSeconds: 86_400,
    ...input,
  });
  return secret;
}

async function enrol(
  app: App,
  deps: Deps,
  enrollmentToken: string,
  input: EnrolInput,
): Promise<EnrolledDevice> {
  const key = await createDeviceKey(input.algorithm);
  const { name, properties } = input;
  const body = await registrationOf(deps, key, enrollmentToken, {
    ...(name === undefined ? {} : { name }),
    ...(properties === undefined ? {} : { properties }),
  });
  const response = await app.request('/v1/devices', jsonRequest('POST', body));
  if (response.status !== 201) throw new Error(`registration failed: ${await response.text()}`);
  const { id } = (await response.json()) as { id: string };
  const renew = async () => {
    const answer = await requestToken(app, deps, { id, key });
    if (answer.status !== 200) throw new Error(`no token: ${await answer.text()}`);
    return bearer(((await answer.json()) as { access_token: string }).access_token);
  };
  return { id, key, headers: await renew(), renew };
}

function bearer(token: string): RequestHeaders {
  return { authorization: `Bearer ${token}` };
}
