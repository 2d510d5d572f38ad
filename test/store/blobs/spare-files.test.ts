import { link, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { get, keysOf, put } from '../../support/blobs.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fededge-spares-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const bytes = Buffer.from('the weights of somebody');
const spares = () => readdir(join(dir, '.spare')).catch(() => []);
const pathOf = (key: string) => join(dir, key);

describe.runIf(process.platform === 'linux')('the file of a deleted blob', () => {
  it('is emptied, and used for one that is opened ahead', async () => {
    const store = createFileBlobs({ dir });
    await put(store, 'update/old', bytes);
    const { ino } = await stat(pathOf('update/old'));
    await store.delete('update/old', { spare: true });
    expect(await store.size('update/old')).toBeUndefined();
    expect(await keysOf(store, '')).toEqual([]);
    const [spare] = await spares();
    expect(await readFile(join(dir, '.spare', spare!), 'utf8')).toBe('');

    const [writer] = await store.openAhead(['update/new']);
    expect((await stat(pathOf('update/new'))).ino).toBe(ino);
    await writer!.write(Buffer.from('others'));
    await writer!.commit();
    expect(await get(store, 'update/new')).toEqual(Buffer.from('others'));
    expect(await spares()).toEqual([]);
  });

  it('is gone unless it may be used again', async () => {
    const store = createFileBlobs({ dir });
    await put(store, 'version/old', bytes);
    await store.delete('version/old');
    expect(await spares()).toEqual([]);
    expect(await readdir(join(dir, 'version'))).toEqual([]);
  });

  it('is deleted alone where somebody has a copy by another name', async () => {
    const store = createFileBlobs({ dir });
    await put(store, 'update/old', bytes);
    await link(pathOf('update/old'), join(dir, 'snapshot'));
    await store.delete('update/old', { spare: true });
    expect(await readFile(join(dir, 'snapshot'))).toEqual(bytes);
    expect(await spares()).toEqual([]);
    expect(await readdir(join(dir, 'update'))).toEqual([]);
    expect(await readdir(join(dir, '.tmp'))).toEqual([]);
  });

  it('is not what a link stands for', async () => {
    const store = createFileBlobs({ dir });
    await put(store, 'update/before', bytes);
    await writeFile(join(dir, 'elsewhere'), bytes);
    await symlink(join(dir, 'elsewhere'), pathOf('update/link'));
    await store.delete('update/link', { spare: true });
    expect(await readFile(join(dir, 'elsewhere'))).toEqual(bytes);
    expect(await readdir(join(dir, 'update'))).toEqual(['before']);
  });

  it('is one of so many, whoever deletes', async () => {
    const stores = [createFileBlobs({ dir }), createFileBlobs({ dir })];
    const keys = Array.from({ length: 540 }, (_, index) => `update/${index}`);
    await put(stores[0]!, keys[0]!, bytes);
    await Promise.all(keys.slice(1).map((key) => writeFile(pathOf(key), bytes)));
    // Both delete all, as sweepers may.
    const deleted = keys.flatMap((key) => stores.map((store) => store.delete(key, { spare: true })));
    await Promise.all(deleted);
    expect(await readdir(join(dir, 'update'))).toEqual([]);
    const kept = await spares();
    expect(kept.length).toBeGreaterThan(256);
    for (const name of kept) expect((await stat(join(dir, '.spare', name))).size).toBe(0);
    expect(await readdir(join(dir, '.tmp'))).toEqual([]);
    const next = createFileBlobs({ dir });
    await writeFile(pathOf('update/one-more'), bytes);
    await next.delete('update/one-more', { spare: true });
    expect((await spares()).length).toBe(kept.length >= 512 ? kept.length : kept.length + 1);
  });

  it('is swept when nobody has used it for long', async () => {
    const store = createFileBlobs({ dir });
    for (const key of ['update/a', 'update/b']) {
      await put(store, key, bytes);
      await store.delete(key, { spare: true });
    }
    const [old] = await spares();
    const hourAgo = new Date(Date.now() - 3_600_000);
    await utimes(join(dir, '.spare', old!), hourAgo, hourAgo);
    expect(await store.sweepTemporary(new Date(Date.now() - 1_800_000))).toBe(1);
    expect(await spares()).toHaveLength(1);
  });
});
