import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { gatherArrivals } from '../../api/http/wire/arrivals.ts';

/** Node's pieces of a body have 64 KiB at most. */
const PIECE = 1 << 16;

/** A request whose body a test sends. */
function arriving(look: (piece: Uint8Array) => void = () => {}) {
  const incoming = new IncomingMessage(new Socket());
  const seen: number[] = [];
  const arrivals = gatherArrivals(incoming, (piece) => {
    look(piece);
    seen.push(piece.byteLength);
  });
  return {
    incoming,
    arrivals,
    seen,
    /** A piece with a buffer of its own, as the parser gives them. */
    send: (bytes: number, value = 7) => incoming.push(Buffer.from(new Uint8Array(bytes).fill(value).buffer)),
    end: () => incoming.push(null),
  };
}

const sizes = (pieces: readonly Uint8Array[] | undefined) => pieces?.map(({ byteLength }) => byteLength);

describe('a body that arrives', () => {
  it('is shown piece by piece and handed on whole', async () => {
    const body = arriving();
    body.send(PIECE);
    body.send(10);
    body.end();
    const first = await body.arrivals.next();
    expect(sizes(first)).toEqual([PIECE, 10]);
    expect(first!.every((piece) => piece.every((byte) => byte === 7))).toBe(true);
    expect(body.seen).toEqual([PIECE, 10]);
    expect(await body.arrivals.next()).toBeUndefined();
    expect(await body.arrivals.next()).toBeUndefined();
    // What was handed out is freed as soon as more is asked for.
    expect(sizes(first)).toEqual([0, 0]);
  });

  it('with nothing in it is over at once', async () => {
    const body = arriving();
    body.end();
    expect(await body.arrivals.next()).toBeUndefined();
  });

  it('waits with what is more than half a megabyte until somebody takes it', async () => {
    const body = arriving();
    for (let sent = 0; sent < 20; sent += 1) body.send(PIECE);
    body.end();
    await nextTurn();
    expect(body.seen).toHaveLength(8);
    expect(body.incoming.isPaused()).toBe(true);
    const taken: number[] = [];
    for (let pieces = await body.arrivals.next(); pieces; pieces = await body.arrivals.next()) {
      expect(pieces.length).toBeLessThanOrEqual(8);
      taken.push(...sizes(pieces)!);
      // While one part is with its consumer, as much again comes.
      await nextTurn();
    }
    expect(taken).toEqual(Array.from({ length: 20 }, () => PIECE));
  });

  it('in tiny pieces is handed on before they are too many', async () => {
    const body = arriving();
    for (let sent = 0; sent < 100; sent += 1) body.send(1);
    body.end();
    expect(await body.arrivals.next()).toHaveLength(64);
    expect(await body.arrivals.next()).toHaveLength(36);
    expect(await body.arrivals.next()).toBeUndefined();
  });

  it('that is full when it ends has its end told', async () => {
    const body = arriving();
    for (let sent = 0; sent < 8; sent += 1) body.send(PIECE);
    body.end();
    expect(await body.arrivals.next()).toHaveLength(8);
    expect(await body.arrivals.next()).toBeUndefined();
  });

  it('goes on also if somebody had paused it', async () => {
    const incoming = new IncomingMessage(new Socket());
    incoming.pause();
    incoming.push(Buffer.alloc(3));
    incoming.push(null);
    const arrivals = gatherArrivals(incoming, () => {});
    expect(sizes(await arrivals.next())).toEqual([3]);
    expect(await arrivals.next()).toBeUndefined();
  });
});

describe('a body that is cut', () => {
  it.each([1, 8, 20])('after %i pieces has all of them handed on first', async (sent) => {
    const body = arriving();
    for (let index = 0; index < sent; index += 1) body.send(PIECE);
    await nextTurn();
    body.incoming.destroy();
    let taken = 0;
    const takeAll = async () => {
      for (let pieces = await body.arrivals.next(); pieces; pieces = await body.arrivals.next()) {
        for (const size of sizes(pieces)!) taken += size;
      }
    };
    await expect(takeAll()).rejects.toMatchObject({ code: 'body_incomplete' });
    // Node gives in one what it still had.
    expect(taken).toBe(sent * PIECE);
  });

  it('while somebody waits for it says so', async () => {
    const body = arriving();
    const next = body.arrivals.next();
    body.incoming.destroy();
    await expect(next).rejects.toMatchObject({ code: 'body_incomplete' });
  });

  it('before anybody looked says so', async () => {
    const incoming = new IncomingMessage(new Socket());
    incoming.destroy();
    await nextTurn();
    await expect(gatherArrivals(incoming, () => {}).next()).rejects.toMatchObject({
      code: 'body_incomplete',
    });
  });
});

describe('a body that is refused when it is seen', () => {
  it.each([1, 8, 9])('at piece %i hands on what came before, then throws', async (bad) => {
    let seen = 0;
    const fault = new Error('not this one');
    const body = arriving(() => {
      seen += 1;
      if (seen === bad) throw fault;
    });
    for (let index = 0; index < 12; index += 1) body.send(PIECE);
    const taken: number[] = [];
    const takeAll = async () => {
      for (let pieces = await body.arrivals.next(); pieces; pieces = await body.arrivals.next()) {
        taken.push(...sizes(pieces)!);
      }
    };
    await expect(takeAll()).rejects.toBe(fault);
    expect(taken).toHaveLength(bad - 1);
    expect(seen).toBe(bad);
    expect(body.incoming.isPaused()).toBe(true);
    expect(body.incoming.destroyed).toBe(false);
    body.arrivals.stop();
    expect(body.incoming.listenerCount('data')).toBe(0);
  });
});
