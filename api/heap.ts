/**
 * Imported first by the roots, which load the rest afterwards: imports that stand beside this one would be through before
 * it. V8 answers what loading throws away by growing its heap to some 250 MB, of which a tenth is live. Here the young
 * generation stays as small as it begins (1 MB), for what streams through a server dies young, unless the command line says
 * how far it may grow: with the 2 MB of `npm start` and the image many small updates at once are collected half as often.
 * The old one grows by a third at a time.
 *
 * One process of several (DATABASE_URL) is placed by its memory: it looks through the old generation often while modules
 * load, which costs it 0.3 s. Before a server with its own database somebody sits and waits.
 */
import { setFlagsFromString } from 'node:v8';

const LOADING_MS = 5_000;
/** By how much the old generation may grow before it is looked through again; left to V8 it may be fourfold. */
const GROWTH_PERCENT = 35;

if (!process.execArgv.some((flag) => flag.startsWith('--max-semi-space-size'))) {
  setFlagsFromString('--semi-space-growth-factor=1');
}
setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
if (process.env.DATABASE_URL !== undefined) {
  setFlagsFromString('--memory-saver-mode');
  setTimeout(() => setFlagsFromString('--no-memory-saver-mode'), LOADING_MS).unref();
}
