import { createHash, randomUUID } from 'node:crypto';
import { importJWK, type JWK, jwtVerify } from 'jose';
import { expect } from 'vitest';
import type { Assignment, Model } from '../../../../clients/typescript/index.ts';
import { encodeWeights } from '../../../../clients/typescript/tensors/weights.ts';
import { type Reply, type ScriptedServer, type Seen, startScriptedServer } from './scripted-server.ts';
import { createUploads } from './scripted-uploads.ts';

export const TOKEN = 'fedenr_scripted';
const SHAPES = { kernel: [4, 3], bias: [3] };

interface RegisteredDevice {
  id: string;
  key: JWK;
  name: string;
  properties: Record<string, unknown>;
}

/** The device's side of the contract, in memory, with one model; tests order what the devices get, and faults. */
export interface ScriptedFederation extends ScriptedServer {
  devices: RegisteredDevice[];
  /** Accepted updates by assignment. */
  updates: Map<string, { file: Buffer; digest: string }>;
  /** Assignments that were given back, with their reasons. */
  returned: Map<string, string | null>;
  evaluations: Map<string, unknown>;
  /** Tokens that were issued. */
  issued: string[];
  /** Every poll gets it until it is settled. */
  assign(overrides?: Partial<Assignment>): Assignment;
  /** Publishes weights; assignments made from now on are based on them. */
  publish(values: number): { digest: string; file: Buffer };
  /** No poll gets it any more. */
  withdraw(assignment: string): void;
  expireTokens(): void;
  /** What the token endpoint answers instead of a token. */
  refuseTokens(code: string | undefined): void;
  /** Forgets all devices. */
  reset(): void;
  requests(method: string, path: RegExp): Seen[];
}

export async function startScriptedFederation({ skewMs = 0 } = {}): Promise<ScriptedFederation> {
  const devices: RegisteredDevice[] = [];
  const updates: ScriptedFederation['updates'] = new Map();
  const returned: ScriptedFederation['returned'] = new Map();
  const evaluations: ScriptedFederation['evaluations'] = new Map();
  const open: Assignment[] = [];
  const versions: { digest: string; file: Buffer }[] = [];
  const issued: string[] = [];
  let valid: string | undefined;
  let refusal: string | undefined;
  const now = () => new Date(Date.now() + skewMs);
  const settle = (id: string): void => {
    const at = open.findIndex((assignment) => assignment.id === id);
    if (at >= 0) open.splice(at, 1);
  };

  function accept(assignment: string, file: Buffer): Reply {
    const digest = sha256(file);
    const first = updates.get(assignment);
    if (first && first.digest !== digest) return problem(409, 'update_conflict');
    if (!first) updates.set(assignment, { file, digest });
    settle(assignment);
    const status = first ? 'duplicate' : 'accepted';
    return { status: first ? 200 : 201, body: { status, assignment, digest, sequence: 1 } };
  }
  const uploads = createUploads(accept);

  async function register({ body }: Seen): Promise<Reply> {
    const { key, name, properties, enrollmentToken, proof } = JSON.parse(body.toString());
    if (enrollmentToken !== TOKEN) return problem(403, 'enrollment_token_invalid');
    const claims = await verify(proof, key);
    if (!claims) return problem(401, 'clock_skew', { serverTime: now().toISOString() });
    expect(claims.eth).toBe(createHash('sha256').update(TOKEN).digest('base64url'));
    const known = devices.find((device) => device.key.x === key.x);
    const device = known ?? { id: randomUUID(), key, name, properties };
    if (!known) devices.push(device);
    return { status: known ? 200 : 201, body: { id: device.id, federation: 'default' } };
  }

  async function issueToken({ body }: Seen): Promise<Reply> {
    if (refusal) return { status: 401, body: { error: 'invalid_client', code: refusal } };
    const assertion = new URLSearchParams(body.toString()).get('client_assertion')!;
    const { sub } = JSON.parse(Buffer.from(assertion.split('.')[1]!, 'base64url').toString());
    const device = devices.find(({ id }) => id === sub);
    if (!device) return { status: 401, body: { error: 'invalid_client', code: 'invalid_client' } };
    if (!(await verify(assertion, device.key))) {
      return { status: 401, body: { code: 'clock_skew', serverTime: now().toISOString() } };
    }
    valid = randomUUID();
    issued.push(valid);
    return { status: 200, body: { access_token: valid, token_type: 'Bearer', expires_in: 600 } };
  }

  /** Undefined: all holds but the time. */
  async function verify(statement: string, jwk: JWK) {
    const options = { audience: server.url, currentDate: now(), maxTokenAge: 300, clockTolerance: 5 };
    return jwtVerify(statement, await importJWK(jwk, 'EdDSA'), options).then(
      ({ payload }) => payload,
      () => undefined,
    );
  }

  async function answerDevice(seen: Seen): Promise<Reply> {
    const { method, path, query, body } = seen;
    const [, , noun, id = '', part] = path.split('/');
    if (path === '/v1/assignment') return poll();
    if (path === '/v1/devices/me') return { status: 200, body: {} };
    if (noun === 'models')
      return path.endsWith('/weights') ? sendWeights(seen) : { status: 200, body: model };
    if (noun === 'uploads') return uploads.answer(seen);
    if (method === 'POST') return uploads.begin(id, seen);
    if (method === 'DELETE') {
      settle(id);
      returned.set(id, query.get('reason'));
      return { status: 204 };
    }
    if (part === 'evaluation') {
      settle(id);
      evaluations.set(id, JSON.parse(body.toString()));
      return { status: 200, body: { assignment: id } };
    }
    expect(seen.headers['content-length']).toBe(String(body.length));
    expect(seen.headers['content-digest']).toBe(digestField(body));
    return accept(id, body);
  }

  async function poll(): Promise<Reply> {
    if (open.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    return open[0] ? { status: 200, body: open[0] } : { status: 204, headers: { 'retry-after': '1' } };
  }

  function sendWeights({ path, headers }: Seen): Reply {
    const { digest, file } = versions[Number(path.split('/')[5]) - 1]!;
    const start = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
    const etag = `"${digest}"`;
    if (start === 0 || headers['if-range'] !== etag) return { status: 200, headers: { etag }, body: file };
    const range = `bytes ${start}-${file.length - 1}/${file.length}`;
    return { status: 206, headers: { etag, 'content-range': range }, body: file.subarray(start) };
  }

  const server = await startScriptedServer(async (seen) => {
    if (seen.path === '/v1/devices' && seen.method === 'POST') return register(seen);
    if (seen.path === '/v1/token') return issueToken(seen);
    if (seen.headers.authorization !== `Bearer ${valid}`) return problem(401, 'token_expired');
    return answerDevice(seen);
  }, now);

  const federation: ScriptedFederation = {
    ...server,
    devices,
    updates,
    returned,
    evaluations,
    issued,
    assign(overrides = {}) {
      const assignment = makeAssignment(versions, new Date(now().getTime() + 3_600_000), overrides);
      open.push(assignment);
      return assignment;
    },
    publish(value) {
      const tensors = Object.entries(SHAPES).map(([name, shape]) => {
        const length = shape.reduce((product, size) => product * size, 1);
        return [name, { shape, values: new Float32Array(length).fill(value) }] as const;
      });
      const file = Buffer.from(encodeWeights(new Map(tensors)));
      const version = { digest: sha256(file), file };
      versions.push(version);
      return version;
    },
    withdraw: settle,
    expireTokens: () => {
      valid = undefined;
    },
    refuseTokens: (code) => {
      refusal = code;
    },
    reset: () => void devices.splice(0),
    requests: (method, path) => server.seen.filter((seen) => seen.method === method && path.test(seen.path)),
  };
  federation.publish(1);
  return federation;
}

const model = {
  name: 'm',
  manifest: {
    tensors: [
      { name: 'kernel', shape: SHAPES.kernel, dtype: 'F32', role: 'trainable' },
      { name: 'bias', shape: SHAPES.bias, dtype: 'F32', role: 'trainable' },
    ],
  },
} as Model;

function makeAssignment(
  versions: { digest: string; file: Buffer }[],
  deadline: Date,
  overrides: Partial<Assignment>,
): Assignment {
  const id = randomUUID();
  const { digest, file } = versions.at(-1)!;
  const url = `/v1/models/m/versions/${versions.length}/weights?variant=f32`;
  const train = {
    update: {
      url: `/v1/assignments/${id}/update`,
      maxBytes: 1e9,
      encodings: ['f32', 'bf16'],
      scalars: [],
    },
  };
  return {
    id,
    kind: 'train',
    run: randomUUID(),
    round: randomUUID(),
    roundNumber: 1,
    model: 'm',
    modelUrl: '/v1/models/m',
    baseVersion: versions.length,
    downloads: [{ role: 'weights', url, digest, bytes: file.length }],
    hyperparameters: { epochs: 1 },
    seed: 7,
    deadlineAt: deadline.toISOString(),
    ...(overrides.kind === 'evaluate' ? { evaluation: { url: '' } } : train),
    ...overrides,
  };
}

export function problem(status: number, code: string, details: object = {}): Reply {
  return { status, body: { type: 'about:blank', title: code, status, code, requestId: 'r-1', ...details } };
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function digestField(bytes: Buffer): string {
  return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}
