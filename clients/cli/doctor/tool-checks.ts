import { runProgram } from '../workspace/git.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

const TOOLS = [
  { name: 'git', args: ['--version'], needed: 'releases are commits' },
  { name: 'kubectl', args: ['version', '--client'], purpose: 'to look into a cluster' },
  { name: 'argocd', args: ['version', '--client', '--short'], purpose: 'to look at what is synced' },
];

/** What this command calls, and what people beside it do. */
export async function examineTools(cwd: string): Promise<Finding[]> {
  const tools = await Promise.all(
    TOOLS.map(async ({ name, args, needed, purpose }) => {
      const { code, stdout } = await runProgram(name, args, cwd);
      if (code === 0) return ok(name, /\d+\.\d+(?:\.\d+)?/.exec(stdout)?.[0] ?? 'there');
      return needed
        ? fault(name, `is not installed: ${needed}`)
        : warning(name, `is not installed; useful ${purpose}`);
    }),
  );
  return [ok('node', process.versions.node), ...tools];
}
