import { createConnection } from './connections.ts';
import { type Assignment, type Device, poll, type Server, sendAs } from './devices.ts';
import { inParallel } from './parallel.ts';
import type { TensorFile } from './tensor-files.ts';

export interface Transfer {
  seconds: number;
  /** Of bodies. */
  bytes: number;
}

export interface Invited {
  device: Device;
  assignment: Assignment;
}

const RAW_TYPE = { 'content-type': 'application/octet-stream' };
const POLL_CONNECTIONS = 32;
const POLL_SECONDS = 20;

/** Every device asks until it has something to do. */
export async function gatherAssignments(server: Server, devices: readonly Device[]): Promise<Invited[]> {
  const invited: Invited[] = [];
  const open = () => createConnection(server.url);
  await inParallel(
    Math.max(POLL_CONNECTIONS, devices.length),
    devices.length,
    async (index, connection) => {
      const device = devices[index]!;
      let assignment: Assignment | undefined;
      while (!assignment) assignment = await poll(server, device, connection, POLL_SECONDS);
      invited[index] = { device, assignment };
    },
    open,
  );
  return invited;
}

/** Sends an update for each assignment. */
export function sendUpdates(
  server: Server,
  invited: readonly Invited[],
  { file, connections }: { file: TensorFile; connections: number },
): Promise<Transfer> {
  return measure(file.bytes.length * invited.length, () =>
    inParallel(
      connections,
      invited.length,
      async (index, connection) => {
        const { device, assignment } = invited[index]!;
        await sendAs(server, device, connection, updateRequest(assignment, file));
      },
      () => createConnection(server.url),
    ),
  );
}

export function updateRequest(assignment: Assignment, file: TensorFile) {
  const headers = { ...RAW_TYPE, 'content-digest': file.contentDigest };
  return { method: 'PUT', path: assignment.update.url, headers, body: file.bytes, keep: true };
}

/** The same to a server that knows no devices: files at `path` and a number. */
export function putFiles(options: {
  url: string;
  path: string;
  count: number;
  connections: number;
  file: TensorFile;
}): Promise<Transfer> {
  const { url, path, count, connections, file } = options;
  const headers = { ...RAW_TYPE, 'content-digest': file.contentDigest };
  return measure(file.bytes.length * count, () =>
    inParallel(
      connections,
      count,
      async (index, connection) => {
        const request = { method: 'PUT', path: `${path}/${index}`, headers, body: file.bytes };
        const { status } = await connection.send(request);
        if (status !== 201 && status !== 204) throw new Error(`PUT ${path}/${index}: ${status}`);
      },
      () => createConnection(url),
    ),
  );
}

/** Fetches one path again and again; with `etag` it is expected not to have changed. */
export function fetchFiles(options: {
  url: string;
  path: string;
  count: number;
  connections: number;
  headers: Record<string, string>;
  expectedBytes: number;
}): Promise<Transfer> {
  const { url, path, count, connections, headers, expectedBytes } = options;
  return measure(expectedBytes * count, () =>
    inParallel(
      connections,
      count,
      async (_, connection) => {
        const { status, bytes } = await connection.send({ method: 'GET', path, headers });
        if (bytes !== expectedBytes) throw new Error(`GET ${path}: ${status} with ${bytes} bytes`);
      },
      () => createConnection(url),
    ),
  );
}

export async function measure(bytes: number, work: () => Promise<void>): Promise<Transfer> {
  const began = performance.now();
  await work();
  return { seconds: (performance.now() - began) / 1000, bytes };
}
