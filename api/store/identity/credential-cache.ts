import { channels } from '../journal/channels.ts';
import type { Listener } from '../journal/listener.ts';
import { createKnownAssignments, type KnownAssignments } from '../rounds/known-assignments.ts';
import { createDownloadPermits, type DownloadPermits } from './download-permits.ts';
import { createTokenEntries, type TokenEntries } from './token-entries.ts';

const TTL_MS = 15_000;
const MAX_ENTRIES = 50_000;

interface Entry {
  /** The device or operator key that the credential belongs to. */
  owner: string;
  value: unknown;
  loadedAt: number;
  ttlMs: number;
}

/**
 * What a replica remembers of those who call it. Credentials: what it has looked up for at most 15 s, what it has
 * computed for longer. What devices may do and fetch: until an announcement says otherwise.
 * `generation` counts the invalidations, so that a look-up that one overtook is not remembered.
 */
export interface CredentialCache {
  entries: Map<string, Entry>;
  generation: number;
  /** Under which keys of `entries` the access tokens are that come again and again. */
  tokenEntries: TokenEntries;
  /** What devices may fetch. */
  permits: DownloadPermits;
  /** What devices were told to do. */
  assignments: KnownAssignments;
}

/** One a process. Whatever replica changes a credential, the `credentials` channel makes this one forget it. */
export function createCredentialCache(listener: Listener): CredentialCache {
  const cache: CredentialCache = {
    entries: new Map(),
    generation: 0,
    tokenEntries: createTokenEntries(),
    permits: createDownloadPermits(listener),
    assignments: createKnownAssignments(listener),
  };
  listener.subscribe(channels.credentials, (owner) => forgetCredentials(cache, owner));
  return cache;
}

/** The remembered value under `key`. */
export function recall<T extends { owner: string }>(
  cache: CredentialCache,
  key: string,
  now: Date,
): T | undefined {
  const found = cache.entries.get(key);
  const age = found ? now.getTime() - found.loadedAt : Number.NaN;
  return found && age >= 0 && age < found.ttlMs ? (found.value as T) : undefined;
}

/**
 * The remembered value under `key`, else what `load` finds. That there is none is never remembered. `ttlMs`: longer than
 * 15 s only for what cannot change behind our back.
 */
export async function cached<T extends { owner: string }>(
  cache: CredentialCache,
  { key, now, ttlMs = TTL_MS }: { key: string; now: Date; ttlMs?: number },
  load: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const found = recall<T>(cache, key, now);
  if (found) return found;
  const generation = cache.generation;
  const value = await load();
  if (value === undefined) cache.entries.delete(key);
  else if (generation === cache.generation)
    remember(cache, key, { owner: value.owner, value, loadedAt: now.getTime(), ttlMs });
  return value;
}

/** Forgets what a device may fetch and send: it has settled an assignment. */
export function forgetAssignment({ permits, assignments }: CredentialCache, deviceId: string): void {
  permits.forget(deviceId);
  assignments.forget(deviceId);
}

/** Forgets the credentials of one device or operator key; all of them when `owner` is ''. */
function forgetCredentials(cache: CredentialCache, owner: string): void {
  cache.generation += 1;
  if (owner === '') cache.entries.clear();
  else for (const [key, entry] of cache.entries) if (entry.owner === owner) cache.entries.delete(key);
}

function remember(cache: CredentialCache, key: string, entry: Entry): void {
  cache.entries.delete(key);
  // A Map keeps the order of insertion: its first entry is the one that was loaded longest ago.
  if (cache.entries.size >= MAX_ENTRIES) cache.entries.delete(cache.entries.keys().next().value!);
  cache.entries.set(key, entry);
}
