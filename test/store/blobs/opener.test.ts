import { constants, writeSync } from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createOpener } from '../../../api/store/blobs/opener.ts';

const WRITE = constants.O_WRONLY;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fededge-opener-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const pathsOf = (...names: string[]) => names.map((name) => join(dir, name));
const isLinux = process.platform === 'linux';

/** Which of the folder's files this process has open. */
async function openFiles(): Promise<string[]> {
  const links = (await readdir('/proc/self/fd')).map((number) =>
    readlink(`/proc/self/fd/${number}`).catch(() => ''),
  );
  return (await Promise.all(links)).filter((path) => path.startsWith(`${dir}/`)).sort();
}

it('opens files that are written here, and closes them', async ({ skip }) => {
  skip(!isLinux, 'it reads /proc');
  const opener = createOpener();
  const paths = pathsOf('a', 'b', 'c');
  const descriptors = await opener.open(paths, WRITE);
  expect(await openFiles()).toEqual(paths);
  descriptors.forEach((descriptor, index) => void writeSync(descriptor, `file ${index}`));
  expect(await readFile(paths[2]!, 'utf8')).toBe('file 2');
  descriptors.forEach((descriptor) => void opener.close(descriptor));
  await vi.waitFor(async () => expect(await openFiles()).toEqual([]));
});

it('opens all or none, and tells what the system said', async ({ skip }) => {
  const opener = createOpener();
  await writeFile(join(dir, 'b'), 'another');
  const opening = opener.open(pathsOf('a', 'b', 'c'), WRITE);
  await expect(opening).rejects.toMatchObject({ code: 'EEXIST', syscall: 'open' });
  expect(await readdir(dir)).toEqual(['b']);
  expect(await readFile(join(dir, 'b'), 'utf8')).toBe('another');
  skip(!isLinux, 'it reads /proc');
  expect(await openFiles()).toEqual([]);
});

it('serves callers at one time, each with its own', async () => {
  const opener = createOpener();
  const names = Array.from({ length: 5 }, (_, batch) => [`${batch}-a`, `${batch}-b`]);
  const opened = await Promise.all(names.map((pair) => opener.open(pathsOf(...pair), WRITE)));
  opened.flat().forEach((descriptor, index) => void writeSync(descriptor, names.flat()[index]!));
  for (const name of names.flat()) expect(await readFile(join(dir, name), 'utf8')).toBe(name);
  for (const descriptor of opened.flat()) opener.close(descriptor);
});

describe.runIf(isLinux)('with spare files', () => {
  const spares = () => join(dir, 'spares');
  const inodeOf = async (path: string) => (await stat(path)).ino;
  const openAll = async (opener: ReturnType<typeof createOpener>, names: readonly string[]) => {
    const descriptors = await opener.open(pathsOf(...names), WRITE, spares());
    for (const descriptor of descriptors) opener.close(descriptor);
  };

  beforeEach(() => mkdir(spares()));

  it('gives them new names, and makes new files when there are no more', async () => {
    await writeFile(join(spares(), 'x'), '');
    await writeFile(join(spares(), 'y'), 'left by a crash');
    const known = [await inodeOf(join(spares(), 'x')), await inodeOf(join(spares(), 'y'))];
    const names = ['a', 'b', 'c'];
    await openAll(createOpener(), names);
    const inodes = await Promise.all(pathsOf(...names).map(inodeOf));
    expect(inodes).toEqual(expect.arrayContaining(known));
    expect(new Set(inodes).size).toBe(3);
    for (const path of pathsOf(...names)) expect(await readFile(path, 'utf8')).toBe('');
    expect(await readdir(spares())).toEqual([]);
  });

  it('leaves alone what has another name, too', async () => {
    await writeFile(join(spares(), 'x'), 'a copy');
    await link(join(spares(), 'x'), join(dir, 'copy'));
    await openAll(createOpener(), ['a']);
    expect(await readFile(join(dir, 'copy'), 'utf8')).toBe('a copy');
    expect(await readFile(join(dir, 'a'), 'utf8')).toBe('');
    expect(await readdir(spares())).toEqual([]);
  });

  it('replaces no file by one', async () => {
    await writeFile(join(spares(), 'x'), '');
    await writeFile(join(dir, 'a'), 'another');
    await expect(openAll(createOpener(), ['a'])).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await readFile(join(dir, 'a'), 'utf8')).toBe('another');
    expect(await readdir(spares())).toEqual(['x']);
  });

  it('takes files alone', async () => {
    await mkdir(join(spares(), 'lost+found'));
    await writeFile(join(dir, 'outside'), 'somebody else');
    await symlink(join(dir, 'outside'), join(spares(), 'link'));
    await openAll(createOpener(), ['a']);
    expect((await readdir(spares())).sort()).toEqual(['link', 'lost+found']);
    expect(await readFile(join(dir, 'outside'), 'utf8')).toBe('somebody else');
    expect((await lstat(join(dir, 'a'))).isFile()).toBe(true);
  });

  it('does without their folder', async () => {
    await rm(spares(), { recursive: true });
    await openAll(createOpener(), ['a']);
    expect(await readdir(dir)).toEqual(['a']);
  });

  it('gives each to one of those that take at the same time', async () => {
    for (let spare = 0; spare < 40; spare += 1) await writeFile(join(spares(), `spare-${spare}`), '');
    const namesOf = (taker: number) => Array.from({ length: 20 }, (_, index) => `${taker}-${index}`);
    const takers = [1, 2, 3].map(async (taker) => openAll(createOpener(), namesOf(taker)));
    await Promise.all(takers);
    const inodes = await Promise.all(pathsOf(...[1, 2, 3].flatMap(namesOf)).map(inodeOf));
    expect(new Set(inodes).size).toBe(60);
    expect(await readdir(spares())).toEqual([]);
  });
});

const opening = new URL('../../../api/store/blobs/opening-thread.ts', import.meta.url);
const startThread = () => new Worker(opening, { workerData: 'fededge-open', trackUnmanagedFds: false });
const startBroken = (act: string) =>
  new Worker(`require('node:worker_threads').parentPort.once('message', () => { ${act}; })`, { eval: true });

it.each([
  ['ends', () => startBroken('process.exit(0)')],
  ['crashes', () => startBroken("throw new Error('injected')")],
  [
    'does not start',
    () => {
      throw new Error('no more threads');
    },
  ],
])('a thread that %s fails what it was asked, and another takes its place', async (_, startFirst) => {
  const starts = [startFirst];
  const opener = createOpener({ startThread: () => (starts.shift() ?? startThread)(), restartMs: 0 });
  await expect(opener.open(pathsOf('a'), WRITE)).rejects.toMatchObject({ syscall: 'open' });
  const [descriptor] = await vi.waitUntil(() => opener.open(pathsOf('a'), WRITE).catch(() => undefined));
  expect(await readdir(dir)).toEqual(['a']);
  opener.close(descriptor!);
});

it.each([
  ['has ended', () => startBroken('process.exit(0)')],
  [
    'could not start',
    () => {
      throw new Error('no more threads');
    },
  ],
])('a thread that %s is not started again at once', async (_, start) => {
  let starts = 0;
  const opener = createOpener({
    startThread: () => {
      starts += 1;
      return start();
    },
  });
  for (let turn = 0; turn < 5; turn += 1) {
    await expect(opener.open(pathsOf('a'), WRITE)).rejects.toMatchObject({ syscall: 'open' });
    await new Promise((after) => setTimeout(after, 20));
  }
  expect(starts).toBe(1);
});

it.runIf(isLinux)('what is closed while no thread can be had is closed by the next one, once', async () => {
  const threads: Worker[] = [];
  let isOut = false;
  const opener = createOpener({
    startThread: () => {
      if (isOut) throw new Error('no more threads');
      threads.push(startThread());
      return threads.at(-1)!;
    },
    restartMs: 10,
  });
  const paths = pathsOf(...Array.from({ length: 70 }, (_, index) => `file-${100 + index}`));
  const descriptors = await opener.open(paths, WRITE);
  await threads[0]!.terminate();
  expect(await openFiles(), 'a thread that ends takes no file with it').toEqual(paths);
  isOut = true;
  for (const descriptor of descriptors) opener.close(descriptor);
  await new Promise((after) => setTimeout(after, 200));
  expect(await openFiles()).toEqual(paths);
  isOut = false;
  await vi.waitFor(async () => expect(await openFiles()).toEqual([]), { timeout: 5000 });
});
