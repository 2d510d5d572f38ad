import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Context } from '../context.ts';
import { EXIT_FAILURE, Failure } from '../failure.ts';
import { listChanges } from '../workspace/changes.ts';
import { createGit, runProgram } from '../workspace/git.ts';
import { renderManifests } from '../workspace/manifests.ts';
import { manifestFolder, openWorkspace, requireEnvironment, type Workspace } from '../workspace/workspace.ts';

export interface ManifestOptions {
  repository?: string;
  environment?: string;
}

/** Renders manifests into the work tree. */
export async function render(
  { repository, environment }: ManifestOptions,
  { cwd, terminal }: Context,
): Promise<void> {
  const workspace = await openWorkspace(repository ?? cwd);
  const names = chosen(workspace, environment);
  await renderManifests(workspace, { environment });
  const files = await listChanges(workspace, names.map(manifestFolder));
  for (const file of files) terminal.say(`differs from the last commit: ${file}`);
  if (files.length === 0) terminal.say(`${names.join(', ')}: as in the last commit`);
  terminal.result({ environments: names, files });
}

/** Shows what rendering would change, against a revision. Touches nothing. */
export async function diff(
  { repository, environment, against }: ManifestOptions & { against: string },
  { cwd, host, terminal }: Context,
): Promise<void> {
  const workspace = await openWorkspace(repository ?? cwd);
  const names = chosen(workspace, environment);
  const folder = await mkdtemp(join(tmpdir(), 'fededge-diff-'));
  try {
    await renderManifests(workspace, { environment, out: join(folder, 'rendered') });
    for (const name of names) await checkOut(workspace, { name, revision: against, folder });
    const { patch, files } = await compare(folder, terminal.hasColour);
    if (patch !== '') terminal.say(patch.trimEnd());
    terminal.say(
      files.length === 0 ? `no difference from ${against}` : `${files.length} files differ from ${against}`,
    );
    terminal.result({ against, environments: names, files });
    if (files.length > 0) host.exitCode = EXIT_FAILURE;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function chosen(workspace: Workspace, environment: string | undefined): readonly string[] {
  return environment === undefined ? workspace.environments : [requireEnvironment(workspace, environment)];
}

/** An environment's manifests of both sides, each under the path that they have in the repository. */
async function checkOut(
  { git, root }: Workspace,
  { name, revision, folder }: { name: string; revision: string; folder: string },
): Promise<void> {
  const path = manifestFolder(name);
  const { code } = await git.attempt(['rev-parse', '--verify', '--quiet', `${revision}^{commit}`]);
  if (code !== 0)
    throw new Failure(`git knows no revision ${revision}`, 'git fetch, or name another with --against.');
  const after = join(folder, 'b', path);
  await mkdir(dirname(after), { recursive: true });
  await cp(join(folder, 'rendered', name), after, { recursive: true });
  const before = join(folder, 'a');
  await mkdir(before, { recursive: true });
  const archive = join(folder, `${name}.tar`);
  const packed = await git.attempt(['archive', '--output', archive, revision, '--', path]);
  // Nothing of it there: all of it is new.
  if (packed.code !== 0) return;
  const unpacked = await runProgram('tar', ['-xf', archive, '-C', before], root);
  if (unpacked.code !== 0) throw new Failure(`tar failed: ${unpacked.stderr.trim()}`);
}

async function compare(folder: string, colour: boolean): Promise<{ patch: string; files: string[] }> {
  const git = createGit(folder);
  const args = ['diff', '--no-index', '--no-prefix'];
  const { stdout: patch } = await git.attempt([...args, `--color=${colour ? 'always' : 'never'}`, 'a', 'b']);
  const { stdout: names } = await git.attempt([...args, '--name-only', '-z', 'a', 'b']);
  const files = names.split('\0').filter((name) => name !== '');
  return { patch, files: files.map((name) => name.replace(/^[ab]\//, '')).sort() };
}
