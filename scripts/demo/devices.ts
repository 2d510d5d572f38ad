import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DeviceOrder, DeviceReport } from './device.ts';
import { type KeptProcess, keepRunning } from './keep-running.ts';

const DEVICE = fileURLToPath(new URL('./device.ts', import.meta.url));
/** A device has little garbage that lives; without the bound ten of them hold half a gigabyte of it. */
const NODE_OPTIONS = ['--max-semi-space-size=4'];

export interface DemoDevices {
  /** Makes them `order.devices` and sends them to work. */
  begin(order: DeviceOrder): void;
  /** Bytes of tensors that the devices have moved so far, as they counted them. */
  traffic(): { bytesUp: number; bytesDown: number };
  /** Rejects as soon as a device gives up. */
  failure: Promise<never>;
  stop(): Promise<void>;
}

/**
 * Starts the device processes: they load their code and wait for `begin`. They end with this process. One that ends by
 * itself is started again where it was.
 */
export function startDevices(options: {
  devices: number;
  dataDir: string;
  compileCache: string;
  note: (text: string) => void;
}): DemoDevices {
  const traffic = { bytesUp: 0, bytesDown: 0 };
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => undefined);
  let order: DeviceOrder | undefined;
  const kept: KeptProcess[] = [];

  const hear = (index: number, report: DeviceReport): void => {
    if ('bytesDown' in report) traffic.bytesDown += report.bytesDown;
    else if ('bytesUp' in report) traffic.bytesUp += report.bytesUp;
    else reject(new Error(`device ${index + 1}: ${report.failed}`));
    if ('bytesUp' in report) kept[index]?.succeeded();
    if ('failed' in report) void kept[index]?.stop();
  };
  const start = (index: number): ChildProcess => {
    const child = fork(DEVICE, [String(index), join(options.dataDir, 'devices', String(index + 1))], {
      detached: true,
      execArgv: NODE_OPTIONS,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, NODE_COMPILE_CACHE: options.compileCache },
    });
    child.on('message', (report: DeviceReport) => hear(index, report));
    if (order) instruct(child, order);
    return child;
  };
  const add = (): void => {
    const index = kept.length;
    const again = () => start(index);
    const device = keepRunning({ name: `device ${index + 1}`, child: again(), again, note: options.note });
    device.failure.catch(reject);
    kept.push(device);
  };
  const stop = async (devices: KeptProcess[]) => {
    await Promise.all(devices.map((device) => device.stop()));
  };
  while (kept.length < options.devices) add();
  return {
    begin(given) {
      order = given;
      void stop(kept.splice(given.devices));
      for (const device of kept) instruct(device.current(), given);
      while (kept.length < given.devices) add();
    },
    traffic: () => ({ ...traffic }),
    failure,
    stop: () => stop(kept),
  };
}

/** One that has just ended does not hear it, but the one that takes its place will. */
function instruct(child: ChildProcess, order: DeviceOrder): void {
  child.send(order, () => undefined);
}
