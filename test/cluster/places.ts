import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
/** What brings a cluster up and down. */
export const scripts = join(root, 'test', 'support', 'cluster');
/** Built once, for all checkouts of this person. */
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fededge');
export const binaries = join(cache, 'cluster', 'bin');
export const engineState = join(cache, 'cluster', 'images');
export const crds = join(cache, 'crds');
