import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { ProgramError } from './run-program.ts';

type Environment = Record<string, string | undefined>;

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const BACKENDS = ['native', 'wasm', 'cpu'] as const;

/** What the agent program is told by its environment. */
export interface AgentEnvironment {
  url: string;
  /** The URL by which the server knows itself; unset: `url`. */
  audience: string | undefined;
  enrollmentToken: string | undefined;
  name: string;
  stateDir: string;
  dataDir: string;
  shard: Shard;
  /** Unset: the fastest that loads. */
  backend: (typeof BACKENDS)[number] | undefined;
  /** Where `/livez` is answered; unset: nowhere. */
  port: number | undefined;
  reportSeconds: number;
  logLevel: (typeof LEVELS)[number];
}

/** Every `count`-th example, from the `index`-th on, counted from 0. */
export interface Shard {
  index: number;
  count: number;
}

/** Reads FEDEDGE_URL and what goes with it. Throws a ProgramError that names every fault. */
export function readAgentEnvironment(env: Environment): AgentEnvironment {
  const faults: string[] = [];
  const text = (name: string) => env[name] || undefined;
  const required = (name: string, what: string) => {
    if (!text(name)) faults.push(`${name}: ${what} is missing`);
    return text(name) ?? '';
  };
  const oneOf = <T extends string>(name: string, known: readonly T[]) => {
    const value = text(name);
    if (value !== undefined && !known.includes(value as T))
      faults.push(`${name}: one of ${known.join(', ')}`);
    return value as T | undefined;
  };
  const integer = (name: string, [least, most]: readonly [number, number]) => {
    const value = text(name);
    if (value === undefined) return undefined;
    const number = Number(value);
    const holds = Number.isInteger(number) && number >= least && number <= most;
    if (!holds) faults.push(`${name}: a whole number from ${least} to ${most}`);
    return number;
  };
  const settings = {
    url: required('FEDEDGE_URL', "the server's URL"),
    audience: text('FEDEDGE_PUBLIC_URL'),
    enrollmentToken: readSecret(env, 'FEDEDGE_ENROLLMENT_TOKEN', faults),
    name: text('FEDEDGE_AGENT_NAME') ?? hostname(),
    stateDir: text('FEDEDGE_AGENT_DIR') ?? '.agent',
    dataDir: required('FEDEDGE_AGENT_DATA', 'the folder with MODEL.safetensors'),
    shard: readShard(text('FEDEDGE_AGENT_SHARD'), faults),
    backend: oneOf('FEDEDGE_AGENT_BACKEND', BACKENDS),
    port: integer('FEDEDGE_AGENT_PORT', [0, 65_535]),
    reportSeconds: integer('FEDEDGE_AGENT_REPORT_SECONDS', [1, 86_400]) ?? 30,
    logLevel: oneOf('FEDEDGE_LOG_LEVEL', LEVELS) ?? 'info',
  };
  if (settings.url && !isHttpUrl(settings.url)) faults.push('FEDEDGE_URL: is no URL');
  if (faults.length > 0) throw new ProgramError(`the environment has faults:\n  ${faults.join('\n  ')}`);
  return settings;
}

export function isHttpUrl(text: string | undefined): boolean {
  return text !== undefined && /^https?:\/\//i.test(text) && URL.canParse(text);
}

/** A secret from a variable, or from the file that the variable with _FILE names. Undefined: neither is set. */
export function readSecret(env: Environment, name: string, faults: string[]): string | undefined {
  const file = env[`${name}_FILE`];
  if (!file) return env[name] || undefined;
  try {
    const secret = readFileSync(file, 'utf8').trim();
    if (secret !== '') return secret;
    faults.push(`${name}_FILE: ${file} is empty`);
  } catch (error) {
    faults.push(`${name}_FILE: ${(error as Error).message}`);
  }
  return undefined;
}

function readShard(text: string | undefined, faults: string[]): Shard {
  if (text === undefined) return { index: 0, count: 1 };
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  if (index !== undefined && Number(index) < Number(count))
    return { index: Number(index), count: Number(count) };
  faults.push('FEDEDGE_AGENT_SHARD: I/N, I from 0 to N-1');
  return { index: 0, count: 1 };
}
