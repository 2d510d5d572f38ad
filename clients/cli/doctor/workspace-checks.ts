import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseDocument } from 'yaml';
import { describeFaults, readRelease } from '../releases/release-file.ts';
import { listChanges } from '../workspace/changes.ts';
import { runProgram } from '../workspace/git.ts';
import { isGit, openWorkspace, type Workspace } from '../workspace/workspace.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

/** The work tree: is there one, is it committed, do its files hold, are its manifests what they should be. */
export async function examineWorkspace(folder: string): Promise<Finding[]> {
  const workspace = await openWorkspace(folder).catch((error: Error) => error.message);
  if (typeof workspace === 'string')
    return [warning('work tree', `${workspace}: fine, unless you release from here`)];
  const files = (
    await Promise.all(workspace.environments.map((name) => examineEnvironment(workspace, name)))
  ).flat();
  return [await examineGit(workspace), ...files, await examineManifests(workspace)];
}

async function examineGit(workspace: Workspace): Promise<Finding> {
  const { git, root } = workspace;
  if (!(await isGit(workspace))) return fault('work tree', `${root} has no git commit: releases are commits`);
  const branch = (await git.run('rev-parse', '--abbrev-ref', 'HEAD')).trim();
  const changes = await listChanges(workspace, ['infra']);
  const upstream = await git.attempt(['rev-list', '--left-right', '--count', 'HEAD...@{upstream}']);
  const [ahead = 0, behind = 0] = upstream.stdout.trim().split(/\s+/).map(Number);
  const notes = [
    ...(changes.length > 0 ? [`${changes.length} changes below infra are not committed`] : []),
    ...(upstream.code === 0 && ahead > 0 ? [`${ahead} commits are not pushed`] : []),
    ...(upstream.code === 0 && behind > 0 ? [`${behind} commits behind what was last fetched`] : []),
  ];
  if (notes.length > 0) return warning('work tree', `${root}, ${branch}: ${notes.join(', ')}`);
  return ok('work tree', `${root}, ${branch}, nothing to commit below infra`);
}

async function examineEnvironment({ root }: Workspace, name: string): Promise<Finding[]> {
  const folder = join(root, 'infra', 'environments', name);
  const check = `environment ${name}`;
  const faults = [
    ...(await examineVersion(folder)),
    ...(await examineFiles(join(folder, 'models'), examineModel)),
    ...(await examineFiles(join(folder, 'runs'), examineRun)),
  ];
  if (faults.length > 0) return faults.map((message) => fault(check, message));
  const count = async (part: string) => (await listYaml(join(folder, part))).length;
  return [ok(check, `${await count('models')} models, ${await count('runs')} runs`)];
}

async function examineVersion(folder: string): Promise<string[]> {
  try {
    const version = JSON.parse(await readFile(join(folder, 'version.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    const { image, tag, digest } = version;
    if (typeof image !== 'string' || typeof tag !== 'string')
      return ['version.json: image and tag are demanded'];
    const isPinned = digest === undefined || /^sha256:[0-9a-f]{64}$/.test(String(digest));
    return isPinned ? [] : ['version.json: digest: sha256: and 64 hexadecimal digits'];
  } catch (error) {
    return [`version.json: ${(error as Error).message}`];
  }
}

async function examineFiles(
  folder: string,
  examine: (name: string, text: string) => string[],
): Promise<string[]> {
  const files = await listYaml(folder);
  const found = await Promise.all(
    files.map(async (file) => examine(basename(file, '.yaml'), await readFile(join(folder, file), 'utf8'))),
  );
  return found.flat();
}

async function listYaml(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).filter((file) => file.endsWith('.yaml')).sort();
}

function examineModel(name: string, text: string): string[] {
  const file = `models/${name}.yaml`;
  const reading = readRelease(text);
  if (!reading.ok) return describeFaults(file, reading.faults).split('\n');
  return reading.release.model === name ? [] : [`${file}: model: it is of ${reading.release.model}`];
}

/** The server checks what is in it; here it is a document that names a model. */
function examineRun(name: string, text: string): string[] {
  const document = parseDocument(text);
  const value: unknown = document.errors.length > 0 ? undefined : document.toJS();
  const isRun = typeof value === 'object' && value !== null && 'model' in value;
  return isRun
    ? []
    : [`runs/${name}.yaml: ${document.errors[0]?.message.split('\n')[0] ?? 'model is demanded'}`];
}

async function examineManifests({ root }: Workspace): Promise<Finding> {
  const { code, stderr } = await runProgram(process.execPath, ['infra/main.ts', '--check'], root);
  if (code === 0) return ok('manifests', 'as the environments say');
  const [, broken] = /^\w*Error: (.*)$/m.exec(stderr) ?? [];
  if (broken !== undefined) return fault('manifests', `cannot be rendered: ${broken}`);
  const [first, ...more] = stderr.trim().split('\n');
  const others = more.length > 0 ? ` (and ${more.length} more)` : '';
  return fault(
    'manifests',
    `${first}${others}; fededge manifests diff shows it, fededge manifests render mends it`,
  );
}
