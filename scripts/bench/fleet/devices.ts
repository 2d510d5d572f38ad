import { setTimeout as sleep } from 'node:timers/promises';
import { type Identity, openIdentity } from '../../../clients/typescript/device/identity.ts';
import { signAssertion, signProof } from '../../../clients/typescript/device/signing.ts';
import { createMemoryStore } from '../../../clients/typescript/store/memory-store.ts';
import { type Answer, headerOf } from './answers.ts';
import { type Connection, createConnection, type Request } from './connections.ts';
import { inParallel } from './parallel.ts';

/** A device that asks, fetches and sends, and never trains. */
export interface Device {
  id: string;
  identity: Identity;
  token: string;
  tokenUntil: number;
}

export interface Assignment {
  id: string;
  round: string;
  downloads: { url: string; digest: string; bytes: number }[];
  update: { url: string };
}

export interface Server {
  url: string;
  /** The URL by which it knows itself. */
  audience: string;
}

const CONNECTIONS = 16;
/** Of the ten minutes that a token is good for. */
const TOKEN_MS = 8 * 60_000;
const ATTEMPTS = 100;
const JSON_TYPE = { 'content-type': 'application/json' };
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded' };

/** Registers devices and gets each its first access token. */
export async function enrolDevices(
  server: Server,
  enrollmentToken: string,
  count: number,
): Promise<Device[]> {
  const devices: Device[] = [];
  await inParallel(
    CONNECTIONS,
    count,
    async (index, connection) => {
      const identity = await openIdentity(createMemoryStore());
      const proof = await signProof(identity, {
        audience: server.audience,
        now: Date.now(),
        enrollmentToken,
      });
      const json = { enrollmentToken, name: `device ${index + 1}`, key: identity.publicKey, proof };
      const body = Buffer.from(JSON.stringify(json));
      const request = { method: 'POST', path: '/v1/devices', headers: JSON_TYPE, body, keep: true };
      const { id } = parse<{ id: string }>(await insist(connection, async () => request), 201);
      const device = { id, identity, token: '', tokenUntil: 0 };
      await renewToken(server, device, connection);
      devices[index] = device;
    },
    () => createConnection(server.url),
  );
  return devices;
}

async function renewToken(server: Server, device: Device, connection: Connection): Promise<void> {
  const answer = await insist(connection, async () => {
    const claims = { audience: server.audience, now: Date.now() };
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await signAssertion(device.identity, device.id, claims),
    });
    const body = Buffer.from(form.toString());
    return { method: 'POST', path: '/v1/token', headers: FORM_TYPE, body, keep: true };
  });
  device.token = parse<{ access_token: string }>(answer, 200).access_token;
  device.tokenUntil = Date.now() + TOKEN_MS;
}

/** Sends a request as the device, again where the server asks to wait. Throws unless the answer is a success or 304. */
export async function sendAs(
  server: Server,
  device: Device,
  connection: Connection,
  request: Request,
): Promise<Answer> {
  if (Date.now() > device.tokenUntil) await renewToken(server, device, connection);
  const headers = { authorization: `Bearer ${device.token}`, ...request.headers };
  return insist(connection, async () => ({ ...request, headers }));
}

/** How often a server asked to wait, since the process began. */
export const delays = { count: 0 };

async function insist(connection: Connection, make: () => Promise<Request>): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const request = await make();
    const answer = await connection.send(request);
    if (answer.status < 300 || answer.status === 304) return answer;
    const isBusy = answer.status === 429 || answer.status === 503;
    if (!isBusy || attempt === ATTEMPTS) {
      throw new Error(`${request.method} ${request.path}: ${answer.status} ${answer.body}\n${answer.head}`);
    }
    delays.count += 1;
    await sleep(Number(headerOf(answer.head, 'retry-after') ?? 1) * 1000 * Math.random());
  }
}

function parse<T>(answer: Answer, status: number): T {
  if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.body}`);
  return JSON.parse(answer.body.toString()) as T;
}

/** A long poll. Undefined: there is nothing to do, or the poll was given up. */
export async function poll(
  server: Server,
  device: Device,
  connection: Connection,
  waitSeconds: number,
): Promise<Assignment | undefined> {
  const request = { method: 'GET', path: `/v1/assignment?wait=${waitSeconds}`, keep: true };
  const { status, body } = await sendAs(server, device, connection, request);
  return status === 200 ? (JSON.parse(body.toString()) as Assignment) : undefined;
}
