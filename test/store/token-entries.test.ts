import { describe, expect, it } from 'vitest';
import { createTokenEntries } from '../../api/store/identity/token-entries.ts';

const END = 'e'.repeat(43);

describe('the keys of remembered tokens', () => {
  it('are given for the whole field alone', () => {
    const entries = createTokenEntries();
    entries.keep(`Bearer a.b.${END}`, 'first');
    expect(entries.recall(`Bearer a.b.${END}`)).toBe('first');
    expect(entries.recall(`Bearer x.b.${END}`)).toBeUndefined();
    expect(entries.recall(END)).toBeUndefined();
    entries.keep(`Bearer x.b.${END}`, 'second');
    expect(entries.recall(`Bearer x.b.${END}`)).toBe('second');
    expect(entries.recall(`Bearer a.b.${END}`)).toBeUndefined();
  });

  it('are bounded: the oldest goes first', () => {
    const entries = createTokenEntries(2);
    for (const name of ['a', 'b', 'c']) entries.keep(name, name.toUpperCase());
    expect(['a', 'b', 'c'].map(entries.recall)).toEqual([undefined, 'B', 'C']);
  });
});
