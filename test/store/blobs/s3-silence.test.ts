import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type BlobStore, BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { createS3Blobs } from '../../../api/store/blobs/s3/s3-blobs.ts';
import { get, keysOf, put } from '../../support/blobs.ts';
import { type FakeS3, type Fault, startFakeS3 } from '../../support/fake-s3.ts';

const partBytes = 5 << 20;
const large = randomBytes(2 * partBytes + 12_345);
const small = large.subarray(0, 1000);
/** Long enough for a busy machine to answer in what a silent try leaves. */
const timeoutMs = 1500;
const credentials = { region: 'eu-central-1', accessKeyId: 'test-key', secretAccessKey: 'test-secret' };

let fake: FakeS3;
let shared: Parameters<typeof createS3Blobs>[0];
beforeAll(async () => {
  fake = await startFakeS3({ bucket: 'blobs' });
  const { endpoint, bucket } = fake;
  shared = { ...credentials, endpoint, bucket, pathStyle: true, partBytes, retryBaseMs: 1 };
});
afterEach(() => {
  fake.faults.length = 0;
});
afterAll(() => fake.close());

function fail(match: RegExp, fault: Fault): void {
  for (let count = 0; count < 100; count += 1) fake.faults.push({ match, fault });
}

describe('an S3 that is silent', () => {
  const everything = /^/;
  const silent: Fault = { kind: 'silent' };
  const operations: [string, RegExp, Fault, (store: BlobStore, key: string) => Promise<unknown>][] = [
    ['is asked for a size', everything, silent, (store, key) => store.size(key)],
    ['is to delete', everything, silent, (store, key) => store.delete(key)],
    ['is to list', everything, silent, (store) => keysOf(store, '')],
    ['is to list uploads', everything, silent, (store) => store.sweepTemporary(new Date(0))],
    ['is checked', everything, silent, (store) => store.check()],
    ['is read', everything, silent, (store, key) => get(store, key)],
    ['has begun an answer', /^GET/, { kind: 'stall', bytes: 0 }, (store) => get(store, 'update/large')],
    ['has begun a list', /^GET/, { kind: 'stall', bytes: 100 }, (store) => keysOf(store, '')],
    ['gets a small blob', everything, silent, (store, key) => put(store, key, small)],
    ['gets a large blob', everything, silent, (store, key) => put(store, key, large)],
    ['gets a part', /^(PUT|DELETE)/, silent, (store, key) => put(store, key, large)],
    [
      'is to complete an upload',
      /^(POST .*uploadId|DELETE)/,
      { kind: 'silent-after-effect' },
      (store, key) => put(store, key, large),
    ],
  ];

  test.each(operations)('and %s is out after one time limit', async (_name, match, fault, work) => {
    const store = createS3Blobs({ ...shared, timeoutMs });
    fake.objects.set('update/large', { bytes: large, modifiedAt: new Date(), metadata: {} });
    fail(match, fault);
    const failing = work(store, `update/${randomUUID()}`);
    await expect(failing).rejects.toThrow(BlobUnavailableError);
    // A try that takes most of it and one that takes the rest: not each as much as the limit.
    expect(100 - fake.faults.length).toBe(2);
  });

  test('is not waited for again by who drops the write', async () => {
    const store = createS3Blobs({ ...shared, timeoutMs });
    const writer = await store.create(`update/${randomUUID()}`);
    await writer.write(large);
    fail(/^/, silent);
    await expect(writer.commit()).rejects.toThrow(BlobUnavailableError);
    await writer.abort();
    expect(fake.calls.slice(-3).filter((call) => call.startsWith('DELETE'))).toEqual([]);
  });

  test('but answers in between is not out', async () => {
    const store = createS3Blobs({ ...shared, timeoutMs });
    const key = `update/${randomUUID()}`;
    // More silence in all than the limit, each time followed by an answer.
    for (const match of [/uploads=/, /partNumber=1/, /partNumber=2/, /partNumber=3/, /^POST .*uploadId=/]) {
      fake.faults.push({ match, fault: { kind: 'silent' } });
    }
    await put(store, key, large);
    expect(fake.faults).toEqual([]);
    expect((await get(store, key)).equals(large)).toBe(true);
  });
});

test('a part that moves slowly takes longer than the limit', async () => {
  const began: string[] = [];
  // Stands for a slow line: it takes the pieces of a body one by one.
  const slow = async (url: URL, init: RequestInit) => {
    began.push(url.search);
    const pieces: Uint8Array[] = [];
    for await (const piece of init.body as unknown as AsyncIterable<Uint8Array>) {
      await sleep(40);
      init.signal?.throwIfAborted();
      pieces.push(piece);
    }
    return fetch(url, { ...init, body: Buffer.concat(pieces) });
  };
  const key = `update/${randomUUID()}`;
  const store = createS3Blobs({ ...shared, timeoutMs, fetch: slow });
  await put(store, key, large.subarray(0, partBytes));
  expect(began).toHaveLength(1);
  expect(fake.objects.get(key)?.bytes.equals(large.subarray(0, partBytes))).toBe(true);
});
