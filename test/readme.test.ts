import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const readme = read('README.md');

function namesIn(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1]!).sort();
}

it('lists every variable that the configuration reads, and no other', () => {
  const declared = namesIn(read('api/config.ts'), /^ {2}([A-Z][A-Z0-9_]+):/gm);
  expect(declared.length).toBeGreaterThan(10);
  expect(namesIn(readme, /^\| `([A-Z][A-Z0-9_]+)` \|/gm)).toEqual(declared);
});

it('gives the defaults that the configuration has', () => {
  const config = read('api/config.ts');
  const rows = readme.matchAll(/^\| `([A-Z][A-Z0-9_]+)` \| `([^`]+)` \|/gm);
  for (const [, name, value] of rows) {
    const [, written = ''] =
      new RegExp(`^ {2}${name}:[^\\n]*default\\('?([^')]+)'?\\)`, 'm').exec(config) ?? [];
    expect(`${name} ${written.replaceAll('_', '')}`).toBe(`${name} ${value}`);
  }
});

it('names folders and commands that exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const commands = namesIn(readme, /npm run ([a-z]+)/g);
  expect(commands.filter((name) => !(name in scripts))).toEqual([]);
  const folders = namesIn(readme, /^\| `([a-z/]+\/)` \|/gm);
  expect(folders.length).toBeGreaterThan(5);
  expect(folders.filter((name) => !existsSync(new URL(`../${name}`, import.meta.url)))).toEqual([]);
});
