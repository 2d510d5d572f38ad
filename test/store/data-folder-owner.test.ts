import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { acquireOwnership, DataFolderInUseError } from '../../api/store/local/local-database.ts';

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-owner-'));
  folders.push(folder);
  return folder;
}

describe('the ownership of a data folder', () => {
  test('passes on by release, and a stale one is taken over', async () => {
    const dataDir = await dataFolder();
    for (let turn = 0; turn < 3; turn += 1) {
      const ownership = await acquireOwnership(dataDir);
      await expect(acquireOwnership(dataDir)).rejects.toMatchObject({ pid: process.pid, dataDir });
      await ownership.release();
      await ownership.release();
    }
    const [newest] = await generations(dataDir);
    const path = join(dataDir, 'owner', String(newest));
    const record = JSON.parse(await readFile(path, 'utf8'));
    // The pid lives, but the process that the record speaks of began at another time.
    await writeFile(path, JSON.stringify({ ...record, released: undefined, process: '1' }));
    const ownership = await acquireOwnership(dataDir);
    await ownership.release();
    await writeFile(join(dataDir, 'owner', String((newest ?? 0) + 9)), 'torn by a power loss');
    await (await acquireOwnership(dataDir)).release();
    expect(await generations(dataDir)).toHaveLength(1);
  });

  test.runIf(process.platform === 'linux')('of another pid namespace is told by its socket', async () => {
    const dataDir = await dataFolder();
    const ownership = await acquireOwnership(dataDir);
    const [newest] = await generations(dataDir);
    const path = join(dataDir, 'owner', String(newest));
    const record = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...record, host: 'another container', pid: 1 }));
    await expect(acquireOwnership(dataDir)).rejects.toThrow(DataFolderInUseError);
    await writeFile(path, JSON.stringify({ ...record, host: 'another container', socket: 'silent.sock' }));
    const next = await acquireOwnership(dataDir);
    await next.release();
    await ownership.release();
  });

  test('goes to one of many that find it stale at once, again and again', async () => {
    const dataDir = await dataFolder();
    for (let turn = 0; turn < 15; turn += 1) {
      const tries = await Promise.allSettled(Array.from({ length: 8 }, () => acquireOwnership(dataDir)));
      const won = tries.filter((outcome) => outcome.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const outcome of tries) {
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(DataFolderInUseError);
      }
      if (turn % 2) await won[0]?.value.release();
      else await makeStale(dataDir);
    }
  });
});

async function generations(dataDir: string): Promise<number[]> {
  const names = await readdir(join(dataDir, 'owner'));
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

async function makeStale(dataDir: string): Promise<void> {
  const path = join(dataDir, 'owner', String(Math.max(...(await generations(dataDir)))));
  const record = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...record, pid: 2 ** 22 + 1 }));
}
