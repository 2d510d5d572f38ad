import { randomBytes, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdtemp, open, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type BlobStore, BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { createS3Blobs } from '../../../api/store/blobs/s3/s3-blobs.ts';
import { get, put, putWhole } from '../../support/blobs.ts';
import { type FakeS3, startFakeS3 } from '../../support/fake-s3.ts';

const partBytes = 5 << 20;
const large = randomBytes(2 * partBytes + 12_345);
const small = large.subarray(0, 1000);
const credentials = { region: 'eu-central-1', accessKeyId: 'test-key', secretAccessKey: 'test-secret' };
const folder = () => mkdtemp(join(tmpdir(), 'fededge-blobs-'));

const ways = {
  'in pieces': put,
  'at once': putWhole,
};
type Way = keyof typeof ways;

describe('blobs on files', () => {
  test('an unusable folder is an outage, not a missing blob', async () => {
    const dir = await folder();
    await writeFile(join(dir, 'file'), '');
    const store = createFileBlobs({ dir: join(dir, 'file') });
    await expect(store.check()).rejects.toThrow(BlobUnavailableError);
    await expect(store.create('update/x')).rejects.toThrow(BlobUnavailableError);
    await expect(store.create('update/x', { whole: true })).rejects.toThrow(BlobUnavailableError);
    await rm(dir, { recursive: true });
  });

  test('empty folders of deleted blobs go, also while others write into them', async () => {
    const dir = await folder();
    const store = createFileBlobs({ dir });
    const work = Array.from({ length: 40 }, async (_, index) => {
      const key = `checkpoint/round/${index}`;
      await put(store, key, large.subarray(0, index));
      await store.delete(key);
    });
    await Promise.all(work);
    expect(await readdir(join(dir, 'checkpoint'))).toEqual([]);
    await rm(dir, { recursive: true });
  });

  test.each<['datasync' | 'sync' | 'writev', Way]>([
    ['datasync', 'in pieces'],
    ['sync', 'in pieces'],
    ['writev', 'in pieces'],
    ['sync', 'at once'],
    ['writev', 'at once'],
  ])('a %s that fails leaves nothing behind, written %s', async (call, way) => {
    const dir = await folder();
    const store = createFileBlobs({ dir });
    await put(store, 'update/before', large.subarray(0, 10));
    const handle = await open(dir, 'r');
    const failure = Object.assign(new Error('EIO: i/o error'), { syscall: call });
    const broken = vi.spyOn(Object.getPrototypeOf(handle), call).mockRejectedValue(failure);
    await handle.close();
    await expect(ways[way](store, 'update/x', large)).rejects.toThrow(BlobUnavailableError);
    broken.mockRestore();
    expect(await store.size('update/x')).toBeUndefined();
    expect(await readdir(join(dir, '.tmp'))).toEqual([]);
    await ways[way](store, 'update/x', large);
    expect(await store.size('update/x')).toBe(large.length);
    await rm(dir, { recursive: true });
  });

  test.runIf(process.platform === 'linux')('what is written at once is on the disk then', async () => {
    const dir = await folder();
    const store = createFileBlobs({ dir });
    const isThrough = async (path: string) => {
      for (const number of await readdir('/proc/self/fd')) {
        if ((await readlink(`/proc/self/fd/${number}`).catch(() => '')) !== path) continue;
        const flags = /^flags:\s*(\d+)/m.exec(await readFile(`/proc/self/fdinfo/${number}`, 'utf8'))![1]!;
        return (Number.parseInt(flags, 8) & constants.O_DSYNC) !== 0;
      }
      return undefined;
    };
    const writer = await store.create('update/x', { whole: true });
    expect(await isThrough(join(dir, 'update/x'))).toBe(true);
    await writer.write(small);
    await writer.commit();
    await vi.waitFor(async () => expect(await isThrough(join(dir, 'update/x'))).toBeUndefined());
    await rm(dir, { recursive: true });
  });

  test('what the system takes in part is written in whole', async () => {
    const dir = await folder();
    const store = createFileBlobs({ dir });
    const handle = await open(dir, 'r');
    const prototype = Object.getPrototypeOf(handle) as { writev: typeof handle.writev };
    await handle.close();
    const { writev } = prototype;
    let writes = 0;
    vi.spyOn(prototype, 'writev').mockImplementation(function (this: typeof handle, [first, ...rest], at) {
      writes += 1;
      const part = first as Uint8Array;
      // Not at the end of a chunk, at it, and in the middle of the next one, by turns.
      const taken = [[part.subarray(0, 3)], [part], [part, ...rest]][writes % 3]!;
      return writev.call(this, taken, at);
    });
    const chunks = [
      large.subarray(0, 100),
      large.subarray(100, 101),
      new Uint8Array(0),
      large.subarray(101, 5000),
    ];
    const writer = await store.create('update/x', {});
    await writer.write(chunks);
    vi.restoreAllMocks();
    await writer.write(large.subarray(5000));
    expect(writer.bytes).toBe(large.length);
    await writer.commit();
    expect((await get(store, 'update/x')).equals(large)).toBe(true);
    expect(writes).toBeGreaterThan(1);
    await rm(dir, { recursive: true });
  });

  test.each<[string, Way]>([
    ['blob.after_temp_write', 'in pieces'],
    ['blob.after_fsync', 'in pieces'],
    ['blob.after_temp_write', 'at once'],
    ['blob.after_fsync', 'at once'],
  ])('a stop at %s leaves nothing behind, written %s', async (point, way) => {
    const dir = await folder();
    const failpoint = (name: string) => {
      if (name === point) throw new Error('stopped here');
    };
    const store = createFileBlobs({ dir, failpoint });
    await expect(ways[way](store, 'update/x', large)).rejects.toThrow('stopped here');
    expect(await store.size('update/x')).toBeUndefined();
    expect(await readdir(join(dir, '.tmp')).catch(() => [])).toEqual([]);
    await rm(dir, { recursive: true });
  });

  test.each<Way>(['in pieces', 'at once'])(
    'names its failpoints before and after the sync, and leaves one link, written %s',
    async (way) => {
      const dir = await folder();
      const passed: string[] = [];
      const store = createFileBlobs({ dir, failpoint: (name) => void passed.push(name) });
      await ways[way](store, 'update/x', large.subarray(0, 10));
      expect(passed).toEqual(['blob.after_temp_write', 'blob.after_fsync']);
      expect((await stat(join(dir, 'update/x'))).nlink).toBe(1);
      await rm(dir, { recursive: true });
    },
  );
});

describe('blobs on a troubled S3', () => {
  let fake: FakeS3;
  let store: BlobStore;
  beforeAll(async () => {
    fake = await startFakeS3({ bucket: 'blobs' });
    const { endpoint, bucket } = fake;
    const timing = { retryBaseMs: 1, timeoutMs: 1500 };
    store = createS3Blobs({ ...credentials, endpoint, bucket, pathStyle: true, partBytes, ...timing });
  });
  afterAll(() => fake.close());

  test.each([
    { match: /^PUT/, fault: { kind: 'status', status: 503 } },
    { match: /^PUT/, fault: { kind: 'status', status: 429 } },
    { match: /^PUT/, fault: { kind: 'status', status: 409 } },
    { match: /^PUT/, fault: { kind: 'refuse' } },
    { match: /^PUT/, fault: { kind: 'lose-answer' } },
    { match: /^PUT/, fault: { kind: 'silent' } },
    { match: /^PUT/, fault: { kind: 'silent-after-effect' } },
  ] as const)('a small write survives $fault', async (trouble) => {
    const key = `update/${randomUUID()}`;
    fake.faults.push(trouble);
    await put(store, key, small);
    expect(fake.faults).toEqual([]);
    expect((await get(store, key)).equals(small)).toBe(true);
  });

  test.each([
    { match: /^POST .*uploads=/, fault: { kind: 'lose-answer' } },
    { match: /^PUT .*partNumber=2/, fault: { kind: 'refuse' } },
    { match: /^PUT .*partNumber=1/, fault: { kind: 'lose-answer' } },
    { match: /^POST .*uploadId=/, fault: { kind: 'status', status: 500 } },
    { match: /^POST .*uploadId=/, fault: { kind: 'lose-answer' } },
    { match: /^POST .*uploads=/, fault: { kind: 'stall', bytes: 20 } },
    { match: /^PUT .*partNumber=2/, fault: { kind: 'silent' } },
    { match: /^PUT .*partNumber=2/, fault: { kind: 'silent-after-effect' } },
    { match: /^PUT .*partNumber=3/, fault: { kind: 'silent-after-effect' } },
    { match: /^POST .*uploadId=/, fault: { kind: 'silent-after-effect' } },
    { match: /^POST .*uploadId=/, fault: { kind: 'stall', bytes: 20 } },
    { match: /^POST .*uploadId=/, fault: { kind: 'cut', bytes: 20 } },
  ] as const)('a large write survives $match $fault', async (trouble) => {
    const key = `update/${randomUUID()}`;
    fake.faults.push(trouble);
    await put(store, key, large);
    expect(fake.faults).toEqual([]);
    expect((await get(store, key)).equals(large)).toBe(true);
  });

  test.each([
    { match: /^GET/, fault: { kind: 'cut', bytes: 3_000_000 } },
    { match: /^GET/, fault: { kind: 'stall', bytes: 2_000_000 } },
    { match: /^GET/, fault: { kind: 'refuse' } },
  ] as const)('a download goes on after $fault', async (trouble) => {
    const key = `update/${randomUUID()}`;
    await put(store, key, large);
    fake.faults.push(trouble);
    expect((await get(store, key)).equals(large)).toBe(true);
    fake.faults.push(trouble);
    expect((await get(store, key, { start: 7, end: 9_000_000 })).equals(large.subarray(7, 9_000_000))).toBe(
      true,
    );
    expect(fake.faults).toEqual([]);
  });

  test('an outage ends as one, and leaves no parts behind', async () => {
    const key = `update/${randomUUID()}`;
    for (let count = 0; count < 6; count += 1) {
      fake.faults.push({ match: /^PUT .*partNumber=2/, fault: { kind: 'status', status: 503 } });
    }
    fake.uploads.clear();
    await expect(put(store, key, large)).rejects.toThrow(BlobUnavailableError);
    expect(fake.faults).toEqual([]);
    expect(fake.uploads.size).toBe(0);
    expect(await store.size(key)).toBeUndefined();
  });

  test('a write that failed cannot be committed', async () => {
    const key = `update/${randomUUID()}`;
    for (let count = 0; count < 6; count += 1) {
      fake.faults.push({ match: /^POST .*uploads=/, fault: { kind: 'refuse' } });
    }
    const writer = await store.create(key);
    await expect(writer.write(large)).rejects.toThrow(BlobUnavailableError);
    await expect(writer.commit()).rejects.toThrow(TypeError);
    await writer.abort();
    expect(await store.size(key)).toBeUndefined();
  });

  test('a wrong bucket or key of access is an outage that names the cause', async () => {
    const shared = { ...credentials, endpoint: fake.endpoint, bucket: 'blobs', pathStyle: true };
    const noBucket = createS3Blobs({ ...shared, bucket: 'other' });
    await expect(noBucket.check()).rejects.toThrow('NoSuchBucket');
    await expect(get(noBucket, 'update/x')).rejects.toThrow(BlobUnavailableError);
    const noKey = createS3Blobs({ ...shared, accessKeyId: 'wrong' });
    await expect(noKey.check()).rejects.toThrow('SignatureDoesNotMatch');
    await expect(put(noKey, 'update/x', small)).rejects.toThrow(BlobUnavailableError);
  });

  test('addresses the bucket as a host unless told otherwise', async () => {
    const hosts = new Set<string>();
    const { hostname, port } = new URL(fake.endpoint);
    // Stands for a proxy: not every system resolves names below `localhost`.
    const resolve = (url: URL, init: RequestInit) => {
      hosts.add(url.host);
      const headers = { ...Object.fromEntries(new Headers(init.headers)), 'x-forwarded-host': url.host };
      return fetch(Object.assign(new URL(url), { hostname }), { ...init, headers });
    };
    const endpoint = `http://localhost:${port}`;
    const hosted = createS3Blobs({ ...credentials, endpoint, bucket: 'blobs', fetch: resolve });
    await put(hosted, 'update/hosted', small);
    expect((await get(hosted, 'update/hosted')).equals(small)).toBe(true);
    expect([...hosts]).toEqual([`blobs.localhost:${port}`]);
    expect(fake.objects.has('update/hosted')).toBe(true);
  });
});
