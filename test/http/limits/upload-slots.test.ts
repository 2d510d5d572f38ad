import { describe, expect, it, vi } from 'vitest';
import {
  createUploadSlots,
  type SlotOptions,
  type UploadSlot,
} from '../../../api/http/limits/upload-slots.ts';

const LARGE = 1 << 20;
const SMALL = 1 << 19;

const outcome = (entered: Promise<unknown>) =>
  entered.then(
    () => 'in',
    (error: { code: string }) => error.code,
  );

/** Slots of a process that is as busy as it is told to be, and what came in, in its order. */
function stage(options: SlotOptions) {
  const host = { busyness: 1, looks: 0 };
  const slots = createUploadSlots({
    readBusyness: () => {
      host.looks += 1;
      return host.busyness;
    },
    ...options,
  });
  const entered: UploadSlot[] = [];
  /** What sends as quickly as it is stored. */
  const take = (slot: UploadSlot) => {
    slot.storing();
    entered.push(slot);
  };
  return {
    host,
    entered,
    /** Resolves when all that need not wait are in. */
    async enter(count: number, bytes = LARGE) {
      for (let i = 0; i < count; i += 1) void slots.enter(bytes).then(take);
      await Promise.resolve().then(() => Promise.resolve());
    },
    async looks(count: number) {
      const until = host.looks + count;
      await vi.waitFor(() => expect(host.looks).toBeGreaterThanOrEqual(until), 5000);
    },
  };
}

describe('upload slots', () => {
  it('let in as many as there are, the others in their order', async () => {
    const { enter } = createUploadSlots({ slots: 2 });
    const order: number[] = [];
    const slots = [await enter(LARGE), await enter(LARGE)];
    const waiting = [3, 4, 5].map(async (name) => {
      const slot = await enter(LARGE);
      order.push(name);
      slots.push(slot);
    });
    slots.shift()!.leave();
    await waiting[0];
    expect(order).toEqual([3]);
    slots.shift()!.leave();
    await waiting[1];
    expect(order).toEqual([3, 4]);
    for (const slot of slots) slot.leave();
    await waiting[2];
  });

  it('are given back once, however often one leaves', async () => {
    const { enter } = createUploadSlots({ slots: 1, waitMs: 20 });
    const slot = await enter(LARGE);
    const second = enter(LARGE);
    slot.leave();
    slot.leave();
    (await second).leave();
    await enter(LARGE);
    expect(await outcome(enter(LARGE))).toBe('overloaded');
  });

  it('refuse who has waited for long, and at once who finds a long queue', async () => {
    const { enter } = createUploadSlots({ slots: 1, waitMs: 50 });
    await enter(LARGE);
    const queue = Array.from({ length: 8 }, () => outcome(enter(LARGE)));
    const settled: string[] = [];
    void Promise.all(queue).then(() => settled.push('queue'));
    expect(await outcome(enter(LARGE))).toBe('overloaded');
    expect(settled).toEqual([]);
    expect(new Set(await Promise.all(queue))).toEqual(new Set(['overloaded']));
  });

  it('are left by bodies that take long, of which there may be some', async () => {
    const { enter } = createUploadSlots({ slots: 1, waitMs: 2000, graceMs: 1 });
    const slots = await Promise.all(Array.from({ length: 8 }, () => enter(LARGE)));
    expect(await outcome(enter(LARGE))).toBe('overloaded');
    slots[3]!.leave();
    await enter(LARGE);
  });

  it('let in a few while the process is busy, and so many more as it has time for', async () => {
    const { host, entered, enter, looks } = stage({ slots: 32 });
    await enter(20);
    expect(entered).toHaveLength(4);
    await looks(3);
    expect(entered).toHaveLength(4);
    host.busyness = 0.5;
    await vi.waitFor(() => expect(entered.length).toBeGreaterThan(4));
    host.busyness = 1;
    await looks(2);
    const after = entered.length;
    expect([8, 16]).toContain(after);
    for (const slot of entered.slice(0, after - 3)) slot.leave();
    await vi.waitFor(() => expect(entered).toHaveLength(after + 1));
  });

  it('let small bodies pass, as long as there are any', async () => {
    const { entered, enter } = stage({ slots: 8 });
    await enter(6);
    await enter(6, SMALL);
    expect(entered).toHaveLength(8);
    entered[7]!.leave();
    await vi.waitFor(() => expect(entered).toHaveLength(9));
    entered[0]!.leave();
    await vi.waitFor(() => expect(entered).toHaveLength(10));
  });

  it('are all given before anybody is refused', async () => {
    const { entered, enter } = stage({ slots: 6, waitMs: 60 });
    await enter(6);
    expect(entered).toHaveLength(4);
    await vi.waitFor(() => expect(entered).toHaveLength(6));
  });

  it('do not wait for a process that had nothing to do', async () => {
    const { entered, enter, host } = stage({ slots: 8 });
    host.busyness = 0;
    await enter(8);
    await vi.waitFor(() => expect(entered).toHaveLength(8));
  });

  it.each([
    ['is not waited for, until it sends again', false],
    ['is, while what it sent is stored', true],
  ])('a body that does not move %s', async (_, isStoring) => {
    const { entered, enter, looks } = stage({ slots: 32 });
    await enter(8);
    const [still, other] = entered;
    if (!isStoring) still!.stored();
    await looks(5);
    const inside = entered.length;
    still!.storing();
    other!.leave();
    await looks(1);
    expect([inside, entered.length]).toEqual(isStoring ? [4, 5] : [5, 5]);
    for (const slot of entered) slot.leave();
    await vi.waitFor(() => expect(entered).toHaveLength(8));
  });

  it('are not held by many that do not move', async () => {
    const { entered, enter } = stage({ slots: 32, waitMs: 60_000 });
    await enter(5);
    for (const slot of entered) slot.stored();
    await vi.waitFor(() => expect(entered).toHaveLength(5), 5000);
  });
});
