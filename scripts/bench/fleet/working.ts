import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from './connections.ts';
import { type Device, poll, type Server, sendAs } from './devices.ts';
import { createSlots } from './parallel.ts';
import type { TensorFile } from './tensor-files.ts';
import { updateRequest } from './transfers.ts';

export interface Moved {
  bytesUp: number;
  bytesDown: number;
}

export interface Working {
  /** Ends the devices' work wherever it is. */
  stop(): Promise<Moved>;
}

const POLL_SECONDS = 25;

/** Devices ask, fetch what they are told to, and send an update, again and again. */
export function startWorking(
  server: Server,
  devices: readonly Device[],
  { file, transfers, fetches }: { file: TensorFile; transfers: number; fetches: boolean },
): Working {
  const moved: Moved = { bytesUp: 0, bytesDown: 0 };
  const slots = createSlots(transfers);
  let isOver = false;
  const connections = devices.map(() => createConnection(server.url));

  async function work(device: Device, index: number): Promise<void> {
    const connection = connections[index]!;
    while (!isOver) {
      const assignment = await poll(server, device, connection, POLL_SECONDS);
      if (!assignment) continue;
      await slots(async () => {
        for (const { url } of fetches ? assignment.downloads : []) {
          const request = { method: 'GET', path: url };
          const { bytes } = await sendAs(server, device, connection, request);
          moved.bytesDown += bytes;
        }
        await sendAs(server, device, connection, updateRequest(assignment, file));
        moved.bytesUp += file.bytes.length;
      });
    }
  }

  const loops = devices.map(async (device, index) => {
    while (!isOver) {
      await work(device, index).catch(async (error: unknown) => {
        if (isOver) return;
        console.error(error);
        await sleep(1000);
      });
    }
  });
  return {
    async stop() {
      isOver = true;
      for (const connection of connections) connection.close();
      await Promise.all(loops);
      return moved;
    },
  };
}
