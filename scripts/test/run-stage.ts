import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { root, type Stage } from './stages.ts';

export interface StageResult {
  ok: boolean;
  seconds: number;
  /** What it has said, unless it was shown already. */
  output: string;
}

/** Runs a stage's command; its output is shown line by line if the stage is live. */
export async function runStage(stage: Stage, env: Record<string, string>): Promise<StageResult> {
  const began = performance.now();
  const [command, ...args] = stage.command;
  const child = spawn(command, args, {
    cwd: root,
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const take = stage.live
    ? (line: string) => console.log(line)
    : (line: string) => {
        output += `${line}\n`;
      };
  forEachLine(child.stdout, take);
  forEachLine(child.stderr, take);
  const code = await once(child, 'close').then(
    ([status]: (number | null)[]) => status,
    (error: Error) => {
      take(error.message);
      return 1;
    },
  );
  return { ok: code === 0, seconds: (performance.now() - began) / 1000, output };
}

function forEachLine(stream: Readable, take: (line: string) => void): void {
  createInterface({ input: stream }).on('line', take);
}

/** A developer's own server settings must not reach the tests. */
function cleanEnvironment(): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(DATABASE_URL|FEDEDGE_(?!TEST_|NATIVE_).*|NODE_OPTIONS|NODE_ENV)$/.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    PATH: [join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
    ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : { NO_COLOR: '1', FORCE_COLOR: undefined }),
    REDOCLY_TELEMETRY: 'off',
    REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  };
}
