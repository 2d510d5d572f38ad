import { readFileSync } from 'node:fs';

const PACKAGE = new URL('../../../package.json', import.meta.url);
/** What sets up, then `exec env NAME=VALUE ... node ARGS`. */
const LINE = /exec env (?<env>(?:\w+=\S+ )+)node (?<args>.+)$/;

export interface StartLine {
  env: Record<string, string>;
  /** Of Node; the last one is the program. */
  args: string[];
}

/** How `npm start` and `npm run worker` start their process. */
export function readStartLine(script: 'start' | 'worker'): StartLine {
  const { scripts } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { scripts: Record<string, string> };
  const { env, args } = LINE.exec(scripts[script] ?? '')?.groups ?? {};
  if (!env || !args)
    throw new Error(`package.json: ${script} is not "... exec env NAME=VALUE ... node ARGS"`);
  const pairs = env.trim().split(' ');
  return { env: Object.fromEntries(pairs.map(readPair)), args: args.split(' ') };
}

function readPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
}
