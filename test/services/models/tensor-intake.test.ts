import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bodyOf } from '../../../api/domain/body.ts';
import { FedEdgeError } from '../../../api/domain/errors.ts';
import type { TensorHeader } from '../../../api/domain/tensors.ts';
import { createKernels } from '../../../api/kernels/kernels.ts';
import { type Place, receiveTensors } from '../../../api/services/models/tensor-intake.ts';
import type { IntakePlan } from '../../../api/services/models/tensor-stream.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { rawFile, sha256, tensorFile } from '../../support/tensor-files.ts';

let dir: string;
let deps: Parameters<typeof receiveTensors>[0];
let next = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fededge-intake-'));
  const kernels = createKernels();
  deps = { blobs: createFileBlobs({ dir }), createScanner: () => kernels.createScanner() };
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const everyTensor = ({ entries, headerBytes }: TensorHeader): IntakePlan => ({
  ok: true,
  segments: entries.map(({ start, end, dtype }) => ({
    fileStart: headerBytes + start,
    fileEnd: headerBytes + end,
    dtype: dtype as 'F32',
  })),
});

async function* inChunks(file: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < file.length; start += size) yield file.subarray(start, start + size);
}

function receive(
  file: Uint8Array,
  options: { chunk?: number; bytes?: number; digest?: string; plan?: typeof everyTensor } = {},
) {
  const key = `test/${++next}`;
  const { chunk = 7, bytes = file.length, digest = sha256(file), plan = everyTensor } = options;
  return receiveTensors(deps, {
    claim: () => ({ key }),
    bytes,
    digest,
    body: bodyOf(() => inChunks(file, chunk)),
    plan,
  }).then(
    (received) => ({ ...received, key }),
    async (error: unknown) => {
      expect(await deps.blobs.size(key)).toBeUndefined();
      throw error;
    },
  );
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it was taken'),
    (error: unknown) => {
      if (!(error instanceof FedEdgeError)) throw error;
      return { code: error.code, reason: error.details.reason };
    },
  );

const sound = tensorFile([
  { name: 'a', shape: [2, 2], values: [1, 2, 3, 4] },
  { name: 'b', shape: [3], values: [-5, 6, 7] },
]);

describe('a sound file', () => {
  it('is stored byte for byte, with the norm of its values, however its chunks are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: sound.length }), async (chunk) => {
        const { key, norm, header } = await receive(sound, { chunk });
        expect(norm).toBeCloseTo(Math.sqrt(140), 12);
        expect(header.entries.map(({ name }) => name)).toEqual(['a', 'b']);
        const stored: Uint8Array[] = [];
        for await (const part of deps.blobs.read(key)) stored.push(part.slice());
        expect(sha256(Buffer.concat(stored))).toBe(sha256(sound));
      }),
      { numRuns: 30 },
    );
  });

  it('is looked at only where its plan says so', async () => {
    const file = tensorFile([
      { name: 'index', shape: [2], dtype: 'I32', values: [-1, -1] },
      { name: 'value', shape: [2], values: [3, 4] },
      { name: 'rest', shape: [1], values: [Number.NaN] },
    ]);
    const plan = ({ entries, headerBytes }: TensorHeader): IntakePlan => ({
      ok: true,
      segments: [
        { fileStart: headerBytes + entries[1]!.start, fileEnd: headerBytes + entries[1]!.end, dtype: 'F32' },
      ],
    });
    for (const chunk of [1, 5, 64, 4096]) expect((await receive(file, { chunk, plan })).norm).toBe(5);
  });
});

describe('a file is refused and not kept', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'with a value %s',
    async (value) => {
      const file = tensorFile([{ name: 'a', shape: [3], values: [1, value, 2] }]);
      expect(await failure(receive(file))).toEqual({ code: 'malformed', reason: 'a value is not finite' });
    },
  );

  it('with another digest', async () => {
    expect(await failure(receive(sound, { digest: '0'.repeat(64) }))).toMatchObject({
      code: 'digest_mismatch',
    });
  });

  it('with fewer bytes than declared', async () => {
    const cut = sound.subarray(0, sound.length - 4);
    expect(await failure(receive(cut, { bytes: sound.length }))).toMatchObject({ code: 'body_incomplete' });
  });

  it('that ends inside of its last tensor', async () => {
    expect(await failure(receive(sound.subarray(0, sound.length - 4)))).toEqual({
      code: 'malformed',
      reason: 'the file ends before its last tensor does',
    });
  });

  it('with bytes after its last tensor', async () => {
    expect(await failure(receive(Buffer.concat([sound, Buffer.alloc(3)])))).toEqual({
      code: 'malformed',
      reason: '3 bytes follow the last tensor',
    });
  });

  it('that its plan refuses', async () => {
    const plan = (): IntakePlan => ({ ok: false, reason: 'not this one' });
    expect(await failure(receive(sound, { plan }))).toEqual({ code: 'malformed', reason: 'not this one' });
  });

  it('whose body fails, with what the body threw', async () => {
    const cause = new FedEdgeError('body_incomplete');
    const body = bodyOf(async function* () {
      yield sound.subarray(0, 20);
      throw cause;
    });
    const claim = () => ({ key: 'test/cut' });
    const intake = { claim, bytes: sound.length, digest: sha256(sound), body, plan: everyTensor };
    await expect(receiveTensors(deps, intake)).rejects.toBe(cause);
    expect(await readdir(join(dir, '.tmp'))).toEqual([]);
  });
});

const entry = (text: string) => `{"a":${text}}`;
const four = new Uint8Array(4);
const lengthField = (value: bigint) => {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

describe('hostile headers', () => {
  it.each<[string, Uint8Array, string | RegExp]>([
    ['nothing at all', new Uint8Array(3), 'the file ends inside its header'],
    ['a huge length', lengthField(2n ** 63n), /longer than/],
    ['a length just over the limit', lengthField(2n ** 20n + 1n), /longer than/],
    ['a length over the file', lengthField(1000n), 'the file ends inside its header'],
    ['no JSON', lengthField(0n), 'the header is empty'],
    ['text that is no JSON', rawFile('{"a":'), /not a JSON object/],
    ['bytes that are no UTF-8', rawFile('\u0000\u0000').fill(0xff, 8), /not a JSON object/],
    ['a list', rawFile('[]'), /not a JSON object/],
    ['deep JSON', rawFile(entry('['.repeat(100_000) + ']'.repeat(100_000))), /not an object/],
    ['a polluting name', rawFile('{"__proto__":{"polluted":1}}'), /dtype is unknown/],
    [
      'a polluting dtype',
      rawFile(entry('{"dtype":"constructor","shape":[1],"data_offsets":[0,4]}'), four),
      /dtype/,
    ],
    ['a negative size', rawFile(entry('{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}'), four), /shape/],
    ['a fraction', rawFile(entry('{"dtype":"F32","shape":[0.5],"data_offsets":[0,2]}'), four), /shape/],
    ['a size as text', rawFile(entry('{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}'), four), /shape/],
    [
      'a negative offset',
      rawFile(entry('{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}'), four),
      /data_offsets/,
    ],
    [
      'offsets turned round',
      rawFile(entry('{"dtype":"F32","shape":[1],"data_offsets":[4,0]}'), four),
      /data_offsets/,
    ],
    [
      'a size that overflows',
      rawFile(
        entry('{"dtype":"F32","shape":[9007199254740991,9007199254740991],"data_offsets":[0,4]}'),
        four,
      ),
      /data_offsets/,
    ],
    [
      'a gap',
      rawFile(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
        new Uint8Array(3),
      ),
      /gap or an overlap/,
    ],
    [
      'an overlap',
      rawFile(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        new Uint8Array(3),
      ),
      /gap or an overlap/,
    ],
    ['metadata that is no text', rawFile('{"__metadata__":{"num_examples":1}}'), /__metadata__/],
  ])('%s is malformed', async (_name, file, reason) => {
    const refused = await failure(receive(file, { chunk: 1000 }));
    expect(refused.code).toBe('malformed');
    expect(refused.reason).toEqual(reason instanceof RegExp ? expect.stringMatching(reason) : reason);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('no bytes make it fail in another way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 0, maxLength: 200 }), async (bytes) => {
        const file = Buffer.concat([
          lengthField(BigInt(Math.max(0, bytes.length - 8))).subarray(0, 8),
          bytes,
        ]);
        expect((await failure(receive(file))).code).toBe('malformed');
      }),
      { numRuns: 50 },
    );
  });
});

describe('the store', () => {
  const outage = new Error('the disk is full');
  /** What the intake asked of it; `broken` is what fails. */
  function watchedStore({ broken }: { broken?: 'create' | 'write' | 'commit' } = {}) {
    const asked: string[] = [];
    const { blobs } = deps;
    const ask = (what: string) => {
      asked.push(what);
      if (broken === what) throw outage;
    };
    const create: typeof blobs.create = async (key, options) => {
      ask('create');
      const writer = await blobs.create(key, options);
      return {
        get bytes() {
          return writer.bytes;
        },
        async write(chunks) {
          ask('write');
          await writer.write(chunks);
        },
        async commit() {
          ask('commit');
          await writer.commit();
        },
        abort: () => writer.abort(),
      };
    };
    return { asked, deps: { ...deps, blobs: { ...blobs, create } } };
  }
  type Body = Parameters<typeof receiveTensors>[1]['body'];
  const inPieces = (...pieces: Uint8Array[]): Body =>
    async function* (look) {
      for (const piece of pieces) {
        look(piece);
        yield [piece];
      }
    };
  const intakeOf = (file: Uint8Array, body: Body, place: Partial<Place> = {}) => {
    const key = place.key ?? `test/${++next}`;
    return {
      key,
      claim: () => ({ ...place, key }),
      bytes: file.length,
      digest: sha256(file),
      body,
      plan: everyTensor,
    };
  };

  it('is asked once, when a small body is there', async () => {
    const { asked, deps: watched } = watchedStore();
    const intake = intakeOf(sound, inPieces(sound));
    await receiveTensors(watched, intake);
    expect(asked).toEqual(['create', 'write', 'commit']);
    expect(await deps.blobs.size(intake.key)).toBe(sound.length);
  });

  it('gets what comes by and by as it comes', async () => {
    const { asked, deps: watched } = watchedStore();
    const intake = intakeOf(sound, inPieces(sound.subarray(0, 20), sound.subarray(20)));
    await receiveTensors(watched, intake);
    expect(asked).toEqual(['create', 'write', 'write', 'commit']);
    expect(await deps.blobs.size(intake.key)).toBe(sound.length);
  });

  it('takes no harm from a piece without bytes', async () => {
    const nothing = new Uint8Array();
    const intake = intakeOf(sound, inPieces(nothing, sound, nothing));
    await receiveTensors(deps, intake);
    expect(await deps.blobs.size(intake.key)).toBe(sound.length);
  });

  it('does not show what nobody was told of yet', async () => {
    const { promise: announced, resolve } = Promise.withResolvers<void>();
    const intake = intakeOf(sound, inPieces(sound), { announced });
    const received = receiveTensors(deps, intake);
    await new Promise((after) => setTimeout(after, 20));
    expect(await deps.blobs.size(intake.key)).toBeUndefined();
    resolve();
    await received;
    expect(await deps.blobs.size(intake.key)).toBe(sound.length);
  });

  it('is not asked for a small body that is refused', async () => {
    const { asked, deps: watched } = watchedStore();
    const file = rawFile('[]');
    expect((await failure(receiveTensors(watched, intakeOf(file, inPieces(file))))).code).toBe('malformed');
    expect(asked).toEqual([]);
  });

  it('is open before a large body is asked for', async () => {
    const { deps: broken } = watchedStore({ broken: 'create' });
    const large = tensorFile([{ name: 'a', shape: [200_000] }]);
    let isAsked = false;
    const body = bodyOf(async function* () {
      isAsked = true;
      yield* [];
    });
    await expect(receiveTensors(broken, intakeOf(large, body))).rejects.toBe(outage);
    expect(isAsked).toBe(false);
  });

  it('is not asked for a body that waits for its turn, nor for one that is not wanted by then', async () => {
    const { asked, deps: watched } = watchedStore();
    const large = tensorFile([{ name: 'a', shape: [200_000] }]);
    const turn = Promise.withResolvers<void>();
    const whole = inPieces(large);
    const body: Body = async function* (look, begin) {
      await turn.promise;
      await begin?.();
      yield* whole(look);
    };
    const late = new FedEdgeError('late');
    const onTurn = async () => {
      throw late;
    };
    const received = receiveTensors(watched, { ...intakeOf(large, body), onTurn });
    received.catch(() => undefined);
    await new Promise((after) => setTimeout(after, 20));
    expect(asked).toEqual([]);
    turn.resolve();
    await expect(received).rejects.toBe(late);
    expect(asked).toEqual([]);
  });

  const cut = [sound.subarray(0, 20), sound.subarray(20)];
  it.each([
    ['create', [sound]],
    ['write', [sound]],
    ['commit', [sound]],
    ['create', cut],
    ['write', cut],
    ['commit', cut],
  ] as const)('may fail at %s, and nothing is left', async (broken, pieces) => {
    const { deps: failing } = watchedStore({ broken });
    const intake = intakeOf(sound, inPieces(...pieces));
    await expect(receiveTensors(failing, intake)).rejects.toBe(outage);
    expect(await deps.blobs.size(intake.key)).toBeUndefined();
    expect(await readdir(join(dir, '.tmp'))).toEqual([]);
  });

  it('takes a body under a name that is open already', async () => {
    const { asked, deps: watched } = watchedStore();
    const key = `test/${++next}`;
    const opened = await watched.blobs.create(key, { whole: true });
    await receiveTensors(watched, intakeOf(sound, inPieces(sound), { key, opened }));
    expect(asked).toEqual(['create', 'write', 'commit']);
    expect(await deps.blobs.size(key)).toBe(sound.length);
  });

  it.each(['write', 'commit'] as const)(
    'keeps nothing under an open name when its %s fails',
    async (broken) => {
      const { deps: failing } = watchedStore({ broken });
      const key = `test/${++next}`;
      const opened = await failing.blobs.create(key, { whole: true });
      const intake = intakeOf(sound, inPieces(sound), { key, opened });
      await expect(receiveTensors(failing, intake)).rejects.toBe(outage);
      expect(await deps.blobs.size(key)).toBeUndefined();
    },
  );

  it('is claimed when the body is there, with what is known of it then', async () => {
    const claims: boolean[] = [];
    const claim = (key: string) => (isWhole: boolean) => {
      claims.push(isWhole);
      return { key };
    };
    const refused = intakeOf(rawFile('[]'), inPieces(rawFile('[]')));
    await failure(receiveTensors(deps, { ...refused, claim: claim(refused.key) }));
    expect(claims).toEqual([]);
    for (const pieces of [[sound], cut]) {
      const intake = intakeOf(sound, inPieces(...pieces));
      await receiveTensors(deps, { ...intake, claim: claim(intake.key) });
    }
    expect(claims).toEqual([true, false]);
  });

  it('keeps nothing of a body that fails when all of it was there', async () => {
    const incomplete = new FedEdgeError('body_incomplete');
    const whole = inPieces(sound);
    const body: Body = async function* (look) {
      yield* whole(look);
      throw incomplete;
    };
    const intake = intakeOf(sound, body);
    await expect(receiveTensors(deps, intake)).rejects.toBe(incomplete);
    expect(await deps.blobs.size(intake.key)).toBeUndefined();
  });
});
