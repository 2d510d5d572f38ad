import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
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

  it('is one of so many', async () => {
    const store = createFileBlobs({ dir });
    await mkdir(join(dir, '.spare'));
    for (let index = 0; index < 511; index += 1) await writeFile(join(dir, '.spare', `${index}`), '');
    for (const key of ['update/a', 'update/b']) {
      await put(store, key, bytes);
      await store.delete(key, { spare: true });
    }
    expect(await spares()).toHaveLength(512);
    expect(await readdir(join(dir, 'update'))).toEqual([]);
  });

  it('is one, however many delete the blob', async () => {
    const stores = [createFileBlobs({ dir }), createFileBlobs({ dir }), createFileBlobs({ dir })];
    const keys = Array.from({ length: 60 }, (_, index) => `update/${index}`);
    for (const key of keys) await put(stores[0]!, key, bytes);
    await Promise.all(keys.flatMap((key) => stores.map((store) => store.delete(key, { spare: true }))));
    expect(await readdir(join(dir, 'update'))).toEqual([]);
    const kept = await spares();
    expect(kept).toHaveLength(60);
    expect(kept.filter((name) => name.startsWith('.'))).toEqual([]);
    for (const name of kept) expect((await stat(join(dir, '.spare', name))).size).toBe(0);
  });

  it('is emptied also where the folders have to be made first', async () => {
    await mkdir(join(dir, 'update'));
    await writeFile(pathOf('update/restored'), bytes);
    await createFileBlobs({ dir }).delete('update/restored', { spare: true });
    expect(await spares()).toHaveLength(1);
    expect(await createFileBlobs({ dir }).delete('update/never-there', { spare: true })).toBeUndefined();
    expect(await spares()).toHaveLength(1);
  });

  it('is not used before it is empty', async () => {
    const store = createFileBlobs({ dir });
    await mkdir(join(dir, '.spare'));
    await writeFile(join(dir, '.spare', '.unfinished'), 'left by a crash');
    const [writer] = await store.openAhead(['update/new']);
    expect(await spares()).toEqual(['.unfinished']);
    await writer!.abort();
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
    // A volume's own.
    await mkdir(join(dir, '.spare', 'lost+found'));
    await utimes(join(dir, '.spare', 'lost+found'), hourAgo, hourAgo);
    expect(await store.sweepTemporary(new Date(Date.now() - 1_800_000))).toBe(1);
    expect(await spares()).toHaveLength(2);
  });
});
