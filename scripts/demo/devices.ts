import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DeviceReport } from './device.ts';

const DEVICE = fileURLToPath(new URL('./device.ts', import.meta.url));

export interface DemoDevices {
  /** Bytes of tensors that the devices have moved so far, as they counted them. */
  traffic(): { bytesUp: number; bytesDown: number };
  /** Rejects as soon as a device gives up. */
  failure: Promise<never>;
  stop(): Promise<void>;
}

/** Starts the device processes. They end with this one. */
export function startDevices(options: {
  devices: number;
  dataDir: string;
  url: string;
  enrollmentToken: string;
}): DemoDevices {
  const traffic = { bytesUp: 0, bytesDown: 0 };
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => undefined);
  const children = Array.from({ length: options.devices }, (_, index) => {
    const child = forkDevice(index, options);
    child.on('message', (report: DeviceReport) => {
      if ('bytesDown' in report) traffic.bytesDown += report.bytesDown;
      else if ('bytesUp' in report) traffic.bytesUp += report.bytesUp;
      else reject(new Error(`device ${index + 1}: ${report.failed}`));
    });
    child.on('exit', (code) => {
      if (code) reject(new Error(`device ${index + 1} ended with code ${code}`));
    });
    return child;
  });
  return {
    traffic: () => ({ ...traffic }),
    failure,
    stop: async () => {
      await Promise.all(children.map(stopDevice));
    },
  };
}

function forkDevice(
  index: number,
  { devices, dataDir, url, enrollmentToken }: Parameters<typeof startDevices>[0],
): ChildProcess {
  return fork(DEVICE, [String(index), String(devices)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      DEMO_URL: url,
      DEMO_TOKEN: enrollmentToken,
      DEMO_STATE: join(dataDir, 'devices', String(index + 1)),
    },
  });
}

async function stopDevice(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
