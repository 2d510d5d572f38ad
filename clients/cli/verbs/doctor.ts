import { readFile } from 'node:fs/promises';
import type { ServerOptions } from '../connection.ts';
import type { Context } from '../context.ts';
import type { Finding } from '../doctor/finding.ts';
import { examineServer } from '../doctor/server-checks.ts';
import { examineTools } from '../doctor/tool-checks.ts';
import { examineWorkspace } from '../doctor/workspace-checks.ts';
import { EXIT_FAILURE } from '../failure.ts';
import { formatTable } from '../terminal/tables.ts';

export interface DoctorOptions extends ServerOptions {
  repository?: string;
}

const STYLES = { ok: 'green', warning: 'yellow', fault: 'red' } as const;

/** Looks at everything that this command needs, from here, and tells every fault at once. */
export async function examine(
  options: DoctorOptions,
  { terminal, cwd, signal, host }: Context,
): Promise<void> {
  const version = await ownVersion();
  const found = await Promise.all([
    examineTools(cwd),
    examineServer({ ...options, cwd, signal, version }),
    examineWorkspace(options.repository ?? cwd),
  ]);
  const findings: Finding[] = found.flat();
  const rows = findings.map(({ check, state, message }) => [
    terminal.style(STYLES[state], state === 'fault' ? 'FAULT' : state),
    check,
    message,
  ]);
  for (const line of formatTable(rows)) terminal.say(line);
  terminal.result({ findings });
  if (findings.some(({ state }) => state === 'fault')) host.exitCode = EXIT_FAILURE;
}

export async function ownVersion(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
