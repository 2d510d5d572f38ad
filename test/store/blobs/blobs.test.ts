import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  BlobExistsError,
  BlobMissingError,
  type BlobStore,
  type Failpoint,
} from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { createS3Blobs } from '../../../api/store/blobs/s3/s3-blobs.ts';
import { get, keysOf, put, putWhole } from '../../support/blobs.ts';
import { startFakeS3 } from '../../support/fake-s3.ts';

interface Rig {
  open(options?: { failpoint?: Failpoint }): BlobStore;
  /** What stands unfinished in the store. */
  temporary(): Promise<number>;
  /** Makes everything unfinished older than any sweep's limit. */
  age(): Promise<void>;
  close(): Promise<void>;
}

const partBytes = 5 << 20;
const credentials = { region: 'eu-central-1', accessKeyId: 'test-key', secretAccessKey: 'test-secret' };
const folder = () => mkdtemp(join(tmpdir(), 'fededge-blobs-'));

async function fileRig(): Promise<Rig> {
  const dir = await folder();
  const temporary = join(dir, '.tmp');
  const names = () => readdir(temporary).catch(() => []);
  return {
    open: (options) => createFileBlobs({ dir, ...options }),
    temporary: async () => (await names()).length,
    age: async () => {
      for (const name of await names()) await utimes(join(temporary, name), 1, 1);
    },
    close: () => rm(dir, { recursive: true }),
  };
}

async function fakeS3Rig(): Promise<Rig> {
  const fake = await startFakeS3({ bucket: 'blobs' });
  const { endpoint, bucket } = fake;
  const shared = {
    ...credentials,
    endpoint,
    bucket,
    pathStyle: true,
    prefix: 'site/',
    retryBaseMs: 1,
    partBytes,
  };
  return {
    open: (options) => createS3Blobs({ ...shared, timeoutMs: 1500, ...options }),
    temporary: async () => fake.uploads.size,
    age: async () => {
      for (const upload of fake.uploads.values()) upload.initiatedAt = new Date(1000);
    },
    close: () => fake.close(),
  };
}

interface S3rver {
  run(): Promise<{ port: number }>;
  close(): Promise<void>;
}

async function s3rverRig(): Promise<Rig> {
  const directory = await folder();
  const S3rver = createRequire(import.meta.url)('s3rver') as new (options: object) => S3rver;
  const buckets = [{ name: 'blobs', configs: [] }];
  const options = { port: 0, address: '127.0.0.1', silent: true, directory, configureBuckets: buckets };
  const server = new S3rver(options);
  const { port } = await server.run();
  const keys = { region: 'us-east-1', accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };
  const shared = {
    ...keys,
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'blobs',
    pathStyle: true,
    partBytes,
  };
  return {
    open: (more) => createS3Blobs({ ...shared, retryBaseMs: 1, ...more }),
    temporary: async () => 0,
    age: async () => {},
    close: async () => {
      await server.close();
      await rm(directory, { recursive: true });
    },
  };
}

const large = randomBytes(2 * partBytes + 12_345);

/** What a service does not know, with the reason that is told for the tests that are skipped. */
type Lacks = Partial<Record<'write-once' | 'temporary', string>>;

const rigs = [
  { name: 'files', isFile: true, make: fileRig, lacks: {} as Lacks },
  { name: 'S3 (own fake)', isFile: false, make: fakeS3Rig, lacks: {} as Lacks },
  {
    name: 'S3 (s3rver)',
    isFile: false,
    make: s3rverRig,
    lacks: {
      'write-once': 's3rver knows no conditional puts',
      temporary: 's3rver does not list multipart uploads',
    } as Lacks,
  },
];

describe.each(rigs)('blobs on $name', ({ make, lacks, isFile }) => {
  let rig: Rig;
  let store: BlobStore;
  beforeAll(async () => {
    rig = await make();
    store = rig.open();
  });
  afterAll(() => rig.close());
  const newKey = () => `update/${randomUUID()}`;

  test.each([0, 1, 65_529, 1 << 20, (1 << 20) + 1, partBytes, partBytes + 1])(
    'keeps %i bytes',
    async (length) => {
      const key = newKey();
      const bytes = large.subarray(0, length);
      await put(store, key, bytes);
      expect(await store.size(key)).toBe(length);
      expect((await get(store, key)).equals(bytes)).toBe(true);
    },
  );

  test.each([0, 1, 65_529, partBytes + 1])('keeps %i bytes that are there at once', async (length) => {
    const key = newKey();
    const bytes = large.subarray(0, length);
    const memory = Buffer.from(bytes);
    const whole = [memory.subarray(0, 7), new Uint8Array(0), memory.subarray(7)];
    const writer = await store.create(key, { whole: true });
    await writer.write(whole);
    memory.fill(0xee);
    expect(writer.bytes).toBe(length);
    await writer.commit();
    expect((await get(store, key)).equals(bytes)).toBe(true);
    expect(await rig.temporary()).toBe(0);
  });

  test('puts nothing that is there at once in the place of another', async ({ skip }) => {
    skip(lacks['write-once'] !== undefined, lacks['write-once']);
    const key = newKey();
    await put(store, key, large.subarray(0, 10));
    await expect(putWhole(store, key, large.subarray(10, 20))).rejects.toThrow(BlobExistsError);
    expect((await get(store, key)).equals(large.subarray(0, 10))).toBe(true);
  });

  test('leaves nothing of what was there at once, and is not wanted', async () => {
    const key = newKey();
    const writer = await store.create(key, { whole: true });
    await writer.write(large.subarray(0, 10));
    await writer.abort();
    expect(await store.size(key)).toBeUndefined();
  });

  test('keeps a blob of several parts, written without knowing its size', async () => {
    const key = newKey();
    const writer = await store.create(key);
    await writer.write(large);
    await writer.commit();
    expect((await get(store, key)).equals(large)).toBe(true);
    expect(await rig.temporary()).toBe(0);
  });

  test('reads ranges, cut to the blob', async () => {
    const key = newKey();
    const bytes = large.subarray(0, 3 << 20);
    await put(store, key, bytes);
    const ranges = [
      [0, 1],
      [5, 5],
      [1000, 2_500_000],
      [(3 << 20) - 1, 3 << 20],
      [3_000_000, 9_000_000],
    ] as const;
    for (const [start, end] of ranges) {
      expect((await get(store, key, { start, end })).equals(bytes.subarray(start, end))).toBe(true);
    }
    expect(await get(store, key, { start: 5 << 20, end: 6 << 20 })).toHaveLength(0);
    await expect(get(store, key, { start: 2, end: 1 })).rejects.toThrow(TypeError);
  });

  test('tells the file that a whole blob is, where it is one', async () => {
    const key = newKey();
    await put(store, key, large);
    const { path } = store.read(key);
    expect(path !== undefined).toBe(isFile);
    if (path !== undefined) expect((await readFile(path)).equals(large)).toBe(true);
    expect(store.read(key, { start: 0, end: large.length }).path).toBeUndefined();
  });

  test('two readers that stop half-way do not disturb each other', async () => {
    const key = newKey();
    await put(store, key, large);
    const first = store.read(key)[Symbol.asyncIterator]();
    const second = store.read(key)[Symbol.asyncIterator]();
    const a = await first.next();
    const b = await second.next();
    expect(Buffer.from(a.value as Uint8Array).equals(large.subarray(0, (a.value as Uint8Array).length))).toBe(
      true,
    );
    await first.return?.();
    expect(Buffer.from(b.value as Uint8Array).equals(large.subarray(0, (b.value as Uint8Array).length))).toBe(
      true,
    );
    await second.return?.();
    expect((await get(store, key)).equals(large)).toBe(true);
  });

  test('shows nothing before commit, and nothing after abort', async () => {
    const key = newKey();
    for (const bytes of [large.subarray(0, 10), large]) {
      const writer = await store.create(key);
      await writer.write(bytes);
      expect(await store.size(key)).toBeUndefined();
      expect(await keysOf(store, key)).toEqual([]);
      await writer.abort();
      await writer.abort();
      expect(await store.size(key)).toBeUndefined();
      expect(await rig.temporary()).toBe(0);
      await expect(writer.write(bytes)).rejects.toThrow(TypeError);
      await expect(writer.commit()).rejects.toThrow(TypeError);
    }
  });

  test('refuses a key that is taken and keeps its blob', async ({ skip }) => {
    skip('write-once' in lacks, lacks['write-once']);
    for (const bytes of [large.subarray(0, 100), large]) {
      const key = newKey();
      await put(store, key, bytes);
      await expect(put(store, key, bytes)).rejects.toThrow(BlobExistsError);
      await expect(put(store, key, Buffer.from('other'))).rejects.toThrow(BlobExistsError);
      expect((await get(store, key)).equals(bytes)).toBe(true);
      expect(await rig.temporary()).toBe(0);
    }
  });

  test('lets one of many writers of a key win', async ({ skip }) => {
    skip('write-once' in lacks, lacks['write-once']);
    const key = newKey();
    const contents = Array.from({ length: 8 }, (_, index) => Buffer.alloc(1000, index));
    const outcomes = await Promise.allSettled(contents.map((bytes) => put(store, key, bytes)));
    const winners = contents.filter((_, index) => outcomes[index]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    expect((await get(store, key)).equals(winners[0] as Buffer)).toBe(true);
  });

  test('names what is missing', async () => {
    const key = newKey();
    expect(await store.size(key)).toBeUndefined();
    await expect(get(store, key)).rejects.toThrow(BlobMissingError);
    await expect(get(store, key, { start: 3, end: 4 })).rejects.toThrow(BlobMissingError);
    await expect(get(store, key, { start: 3, end: 3 })).rejects.toThrow(BlobMissingError);
    // A folder of keys is not a blob.
    await put(store, `${key}/1`, large.subarray(0, 10));
    expect(await store.size(key)).toBeUndefined();
    await expect(get(store, key)).rejects.toThrow(BlobMissingError);
  });

  test('deletes, twice if asked, and takes new blobs beside', async () => {
    const round = `checkpoint/${randomUUID()}`;
    await put(store, `${round}/1-1`, large.subarray(0, 10));
    await store.delete(`${round}/1-1`);
    await store.delete(`${round}/1-1`);
    expect(await store.size(`${round}/1-1`)).toBeUndefined();
    await put(store, `${round}/1-2`, large.subarray(0, 20));
    expect(await keysOf(store, round)).toEqual([`${round}/1-2`]);
  });

  test('lists by prefix with sizes and times, page after page', async () => {
    const round = `checkpoint/${randomUUID()}`;
    const began = Date.now();
    const keys = Array.from({ length: 7 }, (_, index) => `${round}/1-${index}`);
    for (const [index, key] of keys.entries()) await put(store, key, large.subarray(0, index));
    expect(await keysOf(store, `${round}/`)).toEqual(keys);
    expect(await keysOf(store, `${round}/1-3`)).toEqual([`${round}/1-3`]);
    expect(await keysOf(store, 'nothing/')).toEqual([]);
    expect(await keysOf(store, '')).toEqual(expect.arrayContaining(keys));
    for await (const { key, bytes, modifiedAt } of store.list(`${round}/`)) {
      expect(bytes).toBe(keys.indexOf(key));
      // Services keep seconds.
      expect(modifiedAt.getTime()).toBeGreaterThan(began - 2000);
    }
  });

  test('sweeps what was left unfinished, and only that', async ({ skip }) => {
    skip('temporary' in lacks, lacks.temporary);
    const kept = newKey();
    await put(store, kept, large.subarray(0, 10));
    const abandoned = await store.create(newKey());
    await abandoned.write(large);
    expect(await rig.temporary()).toBe(1);
    expect(await store.sweepTemporary(new Date(Date.now() - 3_600_000))).toBe(0);
    await rig.age();
    const running = await store.create(newKey());
    await running.write(large);
    expect(await store.sweepTemporary(new Date(Date.now() - 3_600_000))).toBe(1);
    await running.commit();
    expect(await rig.temporary()).toBe(0);
    expect(await store.size(kept)).toBe(10);
    await abandoned.abort();
  });

  test('stops at its failpoints; nothing is visible before a commit', async () => {
    for (const bytes of [large.subarray(0, 10), large]) {
      const passed: string[] = [];
      const key = newKey();
      const watched = rig.open({
        failpoint: async (name) => {
          passed.push(name);
          if (name === 'blob.after_temp_write') expect(await store.size(key)).toBeUndefined();
        },
      });
      await put(watched, key, bytes);
      expect(passed[0]).toBe('blob.after_temp_write');
      expect(await store.size(key)).toBe(bytes.length);
      const failing = rig.open({ failpoint: () => Promise.reject(new Error('stopped here')) });
      const other = newKey();
      await expect(put(failing, other, bytes)).rejects.toThrow('stopped here');
      expect(await store.size(other)).toBeUndefined();
      expect(await rig.temporary()).toBe(0);
    }
  });

  test.each([
    '',
    '/',
    '..',
    '../x',
    'a/../b',
    'a//b',
    '/etc/passwd',
    'a/',
    '.tmp/x',
    'a/.b',
    'a\\b',
    'a\0',
    'ä',
    'x'.repeat(300),
  ])('refuses the key %j', async (key) => {
    await expect(store.create(key)).rejects.toThrow(TypeError);
    await expect(get(store, key)).rejects.toThrow(TypeError);
    await expect(store.size(key)).rejects.toThrow(TypeError);
    await expect(store.delete(key)).rejects.toThrow(TypeError);
  });

  test('is ready', async () => {
    await store.check();
    expect(await rig.temporary()).toBe(0);
  });
});
