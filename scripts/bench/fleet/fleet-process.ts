/** The devices of a benchmark, in a process of their own that does what its parent says over IPC. */
import { createConnection } from './connections.ts';
import { type Device, delays, enrolDevices, type Server } from './devices.ts';
import { holdWaits, type LongPolls, startWaiting } from './long-polls.ts';
import { inParallel } from './parallel.ts';
import { makeTensorFile, type TensorFile } from './tensor-files.ts';
import * as transfers from './transfers.ts';
import { startWorking, type Working } from './working.ts';

const devices: Device[] = [];
let file: TensorFile = makeTensorFile(1);
let invited: transfers.Invited[] = [];
let working: Working | undefined;
let waiting: LongPolls | undefined;

const commands = {
  /** Makes so many devices more, with one enrolment token. */
  async enrol({
    server,
    enrollmentToken,
    count,
  }: {
    server: Server;
    enrollmentToken: string;
    count: number;
  }) {
    devices.push(...(await enrolDevices(server, enrollmentToken, count)));
  },
  /** What is sent from now on. Returns the file's size. */
  async prepare({ parameters }: { parameters: number }) {
    file = makeTensorFile(parameters);
    return file.bytes.length;
  },
  /** The first `count` devices ask until each has an assignment. Returns what the first of them may fetch. */
  async gather({ server, count }: { server: Server; count: number }) {
    invited = await transfers.gatherAssignments(server, devices.slice(0, count));
    const [first] = invited;
    return { token: first!.device.token, download: first!.assignment.downloads[0]! };
  },
  /** Sends the updates of what was gathered. */
  sendUpdates: ({ server, connections }: { server: Server; connections: number }) =>
    transfers.sendUpdates(server, invited, { file, connections }),
  putFiles: (options: { url: string; path: string; count: number; connections: number }) =>
    transfers.putFiles({ ...options, file }),
  fetchFiles: transfers.fetchFiles,
  /** What a round moves, without a round: `count` times a file fetched and sent, all at once. */
  exchange: ({ url, down, up, count }: { url: string; down: string; up: string; count: number }) =>
    transfers.measure(file.bytes.length * count * 2, () =>
      inParallel(
        count,
        count,
        async (index, connection) => {
          await connection.send({ method: 'GET', path: down });
          await connection.send({ method: 'PUT', path: `${up}/${index}`, body: file.bytes });
        },
        () => createConnection(url),
      ),
    ),
  async work(options: { server: Server; count: number; transfers: number; fetches: boolean }) {
    const { server, count, ...how } = options;
    working = startWorking(server, devices.slice(0, count), { file, ...how });
  },
  async rest() {
    const moved = (await working?.stop()) ?? { bytesUp: 0, bytesDown: 0 };
    working = undefined;
    return { ...moved, delays: delays.count };
  },
  async wait({ server, count, seconds }: { server: Server; count: number; seconds: number }) {
    waiting = startWaiting(server, devices.slice(0, count), seconds);
  },
  async hold({ url, count, seconds }: { url: string; count: number; seconds: number }) {
    waiting = holdWaits(url, count, seconds);
  },
  async arrivals() {
    return waiting?.arrivals() ?? [];
  },
  async release() {
    waiting?.release();
  },
  async leave() {
    await waiting?.stop();
    waiting = undefined;
  },
};

export type FleetCommands = typeof commands;

interface Order {
  id: number;
  name: keyof FleetCommands;
  input: never;
}

process.on('message', ({ id, name, input }: Order) => {
  const answer = (result: object) => process.send?.({ id, ...result });
  Promise.resolve(commands[name](input)).then(
    (value) => answer({ value }),
    (error: unknown) => answer({ failed: error instanceof Error ? error.stack : String(error) }),
  );
});
process.once('disconnect', () => process.exit());
