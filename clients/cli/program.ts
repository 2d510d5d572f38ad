import { Command } from 'commander';
import { addJson, addRepository, addServer, type Runner, type Verb } from './commands/options.ts';
import { addReleases } from './commands/release-commands.ts';
import { createContext, type Surroundings } from './context.ts';
import { EXIT_USAGE } from './failure.ts';
import { type DoctorOptions, examine } from './verbs/doctor.ts';
import { diff, type ManifestOptions, render } from './verbs/manifests.ts';

const EXIT_CODES = `
Exit codes: 0 done; 1 failed (a fault, a difference, a release that is paused or halted); 2 a wrong call.
Without a terminal nothing is asked and lines are plain. NO_COLOR is respected. With --json the last line of standard
output is one object, and what is for people goes to standard error.`;

/** The whole command line. Parsing throws a CommanderError instead of ending the process. */
export function createProgram(surroundings: Surroundings, version: string): Command {
  const run =
    <T>(verb: Verb<T>) =>
    (options: T & { json?: boolean }) =>
      verb(options, createContext(options.json === true, surroundings));

  const program = new Command('fededge')
    .description('Releases of models by git, their manifests, and a look at what stands.')
    .version(version)
    // --version of a release is a model's.
    .enablePositionalOptions()
    .showHelpAfterError('(--help explains)')
    .configureHelp({ showGlobalOptions: false, helpWidth: 100 })
    .addHelpText('after', EXIT_CODES)
    .configureOutput({
      writeOut: (text) => void surroundings.host.stdout.write(text),
      writeErr: (text) => void surroundings.host.stderr.write(text),
    })
    .exitOverride();
  const runner: Runner = { run };
  addReleases(program.command('release').description('which version of a model which devices get'), runner);
  addManifests(program.command('manifests').description('what Argo CD reads'), runner);
  addDoctor(program, runner);
  for (const command of program.commands.flatMap((group) => [group, ...group.commands])) {
    command.exitOverride().showHelpAfterError('(--help explains)').configureHelp({ helpWidth: 100 });
  }
  return program;
}

function addManifests(group: Command, { run }: Runner): void {
  addRepository(addJson(group.command('render').description('render infra/environments to infra/manifests')))
    .option('--environment <name>', 'this environment alone')
    .addHelpText(
      'after',
      '\nExamples:\n  fededge manifests render\n  fededge manifests render --environment dev',
    )
    .action(run<ManifestOptions>(render));
  addRepository(
    addJson(group.command('diff').description('show what rendering would change; exit code 1 if anything')),
  )
    .option('--environment <name>', 'this environment alone')
    .option('--against <revision>', 'the git revision to compare with', 'HEAD')
    .addHelpText(
      'after',
      '\nExamples:\n  fededge manifests diff\n  fededge manifests diff --environment staging --against main',
    )
    .action(run<ManifestOptions & { against: string }>(diff));
}

function addDoctor(program: Command, { run }: Runner): void {
  const doctor = program.command('doctor').description('look at everything that this command needs');
  addServer(addRepository(addJson(doctor)))
    .addHelpText(
      'after',
      `
It looks from here: tools, the server as it is reached, the key, the work tree and its files. What the server needs on
its own machine is looked at by npm run doctor there.

Examples:
  fededge doctor --url https://fededge.example --key-file ~/.fededge/key
  fededge doctor --json | tail -n 1 | jq '.findings[] | select(.state == "fault")'`,
    )
    .action(run<DoctorOptions>(examine));
}

/** The exit code of a call that commander could not take: help and version are no failures. */
export function exitCodeOf({ code, exitCode }: { code: string; exitCode: number }): number {
  return code.startsWith('commander.help') || code === 'commander.version'
    ? exitCode && EXIT_USAGE
    : EXIT_USAGE;
}
