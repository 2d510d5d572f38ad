import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { runProgram } from './git.ts';
import type { Workspace } from './workspace.ts';

const RENDERER = join('infra', 'main.ts');

/** Renders manifests: of one environment or of all, into the work tree or into another folder. */
export async function renderManifests(
  { root }: Workspace,
  { environment, out }: { environment?: string | undefined; out?: string } = {},
): Promise<void> {
  if (!existsSync(join(root, RENDERER))) {
    throw new Failure(
      `there is no ${RENDERER} in ${root}`,
      'Is this a clone of FedEdge with its infra folder?',
    );
  }
  const args = [
    RENDERER,
    ...(environment === undefined ? [] : ['--environment', environment]),
    ...(out === undefined ? [] : ['--out', out]),
  ];
  const { code, stdout, stderr } = await runProgram(process.execPath, args, root);
  if (code === 0) return;
  throw new Failure(
    `the manifests cannot be rendered: ${reasonOf(stderr || stdout)}`,
    'Mend it and try again.',
  );
}

/** The message of an uncaught error; whatever stands there, if it is none. */
function reasonOf(output: string): string {
  return (
    /^\w*Error: (.*)$/m.exec(output)?.[1] ??
    (output.trim().split('\n').slice(-5).join('\n') || 'no reason given')
  );
}
