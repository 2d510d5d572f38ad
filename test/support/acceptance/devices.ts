import { createKey, type DeviceKey, hashToken, signAssertion, signProof } from './device-keys.ts';
import {
  type Answer,
  expectStatus,
  type Request,
  rawHeaders,
  send,
  sendUntilAnswered,
  sha256,
} from './requests.ts';

export interface Assignment {
  id: string;
  kind: 'train' | 'evaluate';
  run: string;
  round: string;
  roundNumber: number;
  model: string;
  baseVersion: number;
  downloads: { role: string; url: string; digest: string; bytes: number }[];
  seed: number;
  update?: { url: string; maxBytes: number; encodings: string[] };
  evaluation?: { url: string };
}

export interface Receipt {
  status: 'accepted' | 'duplicate';
  assignment: string;
  round: string;
  sequence: number;
  digest: string;
  receivedAt: string;
}

/** A device in plain HTTP. It repeats what was not answered, as the contract tells devices to. */
export interface Device {
  readonly id: string;
  readonly name: string;
  /** With its access token, until answered; a refused token is renewed once. */
  request(request: Request): Promise<Answer>;
  /** Undefined: there is nothing to do. */
  poll(waitSeconds: number, signal?: AbortSignal): Promise<Assignment | undefined>;
  /** The base version's file, whose digest is what the assignment says. */
  download(assignment: Assignment): Promise<Buffer>;
  putUpdate(assignment: Assignment, file: Buffer): Promise<Answer>;
  putEvaluation(
    assignment: Assignment,
    numExamples: number,
    metrics: Record<string, number>,
  ): Promise<Answer>;
  giveBack(assignment: Assignment): Promise<Answer>;
  /** Takes its next key and uses it. */
  rotateKey(): Promise<Answer>;
  /** For requests that a test sends by itself. */
  token(): Promise<string>;
  /** Asks `url` once for one more token, and says what came of it, whatever that is. */
  askToken(url: string): Promise<Answer>;
}

export interface DeviceOptions {
  /** Where to send the next request. */
  url: () => string;
  publicUrl: string;
  enrollmentToken: string;
  name: string;
  algorithm?: DeviceKey['algorithm'];
  properties?: Record<string, unknown>;
  /** Gets everything that may stand in no log. */
  secrets: Set<string>;
}

/** Registers a device with a key of its own. */
export async function enrolDevice(options: DeviceOptions): Promise<Device> {
  const { publicUrl, enrollmentToken, name, properties = {}, secrets } = options;
  let key = await createKey(options.algorithm);
  const proof = await signProof(key, publicUrl, { eth: hashToken(enrollmentToken) });
  secrets.add(key.secret).add(proof);
  // The same bytes at every attempt: a repeat is told what the first one was.
  const json = { enrollmentToken, key: key.jwk, name, properties, proof };
  const registration = { method: 'POST', path: '/v1/devices', json };
  const answer = await sendUntilAnswered(async () => ({ url: options.url(), request: registration }));
  const { id } = expectStatus<{ id: string }>(answer, 200, 201);
  let token: string | undefined;

  async function renewToken(signer: DeviceKey): Promise<string> {
    const answer = await sendUntilAnswered(async () => ({
      url: options.url(),
      request: await tokenRequest(options, signer, id),
    }));
    token = expectStatus<{ access_token: string }>(answer, 200).access_token;
    secrets.add(token);
    return token;
  }

  async function request(wanted: Request): Promise<Answer> {
    const sendOnce = async () => {
      const bearer = token ?? (await renewToken(key));
      const headers = { authorization: `Bearer ${bearer}`, ...wanted.headers };
      return sendUntilAnswered(
        async () => ({ url: options.url(), request: { ...wanted, headers } }),
        wanted.signal,
      );
    };
    const answer = await sendOnce();
    if (answer.status !== 401) return answer;
    token = undefined;
    return sendOnce();
  }

  return {
    id,
    name,
    request,
    token: async () => token ?? renewToken(key),
    async askToken(url) {
      const answer = await send(url, await tokenRequest(options, key, id));
      if (answer.status === 200) secrets.add(answer.json<{ access_token: string }>().access_token);
      return answer;
    },
    async poll(waitSeconds, signal) {
      const path = `/v1/assignment?wait=${waitSeconds}`;
      const answer = await request({ method: 'GET', path, ...(signal ? { signal } : {}) });
      return expectStatus<Assignment | undefined>(answer, 200, 204);
    },
    async download({ downloads }) {
      const [weights] = downloads;
      const answer = await request({ method: 'GET', path: weights!.url });
      if (answer.status !== 200 || sha256(answer.bytes) !== weights!.digest) {
        throw new Error(`not the file of ${weights!.url}: ${answer.status}`);
      }
      return answer.bytes;
    },
    putUpdate: ({ update }, body) =>
      request({ method: 'PUT', path: update!.url, body, headers: rawHeaders(body) }),
    putEvaluation: ({ evaluation }, numExamples, metrics) =>
      request({ method: 'PUT', path: evaluation!.url, json: { numExamples, metrics } }),
    giveBack: (assignment) =>
      request({ method: 'DELETE', path: `/v1/assignments/${assignment.id}?reason=battery` }),
    async rotateKey() {
      const next = await createKey(options.algorithm);
      const claims = { sub: id, jkt: next.thumbprint };
      const [proof, possession] = await Promise.all([
        signProof(key, publicUrl, claims),
        signProof(next, publicUrl, claims),
      ]);
      for (const secret of [next.secret, proof, possession]) secrets.add(secret);
      const json = { key: next.jwk, proof, possession };
      const answer = await request({ method: 'POST', path: '/v1/devices/me/key', json });
      expectStatus(answer, 200);
      key = next;
      await renewToken(next);
      return answer;
    },
  };
}

async function tokenRequest(
  { publicUrl, secrets }: DeviceOptions,
  key: DeviceKey,
  deviceId: string,
): Promise<Request> {
  const assertion = await signAssertion(key, `${publicUrl}/v1/token`, deviceId);
  secrets.add(assertion);
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  });
  return { method: 'POST', path: '/v1/token', body };
}
