import { Command, InvalidArgumentError, Option } from 'commander';
import { type Context, createContext, type Surroundings } from './context.ts';
import { EXIT_USAGE } from './failure.ts';
import { type DoctorOptions, examine } from './verbs/doctor.ts';
import { diff, type ManifestOptions, render } from './verbs/manifests.ts';
import { type CreateOptions, createRelease } from './verbs/release-create.ts';
import { type PromoteOptions, promoteRelease } from './verbs/release-promote.ts';
import { type RollbackOptions, rollbackRelease } from './verbs/release-rollback.ts';
import { type StatusOptions, showStatus } from './verbs/release-status.ts';

const EXIT_CODES = `
Exit codes: 0 done; 1 failed (a fault, a difference, a release that is paused or halted); 2 a wrong call.
Without a terminal nothing is asked and lines are plain. NO_COLOR is respected. With --json the last line of standard
output is one object, and what is for people goes to standard error.`;

type Verb<T> = (options: T, context: Context) => Promise<void>;

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
  const verbs: Settings = { run };
  addReleases(program.command('release').description('which version of a model which devices get'), verbs);
  addManifests(program.command('manifests').description('what Argo CD reads'), verbs);
  addDoctor(program, verbs);
  for (const command of program.commands.flatMap((group) => [group, ...group.commands])) {
    command.exitOverride().showHelpAfterError('(--help explains)').configureHelp({ helpWidth: 100 });
  }
  return program;
}

interface Settings {
  run<T>(verb: Verb<T>): (options: T & { json?: boolean }) => Promise<void>;
}

function addReleases(group: Command, { run }: Settings): void {
  const create = group
    .command('create')
    .description('write the release file of a model, render the manifests, show the difference')
    .option('--environment <name>', 'the folder below infra/environments')
    .option('--model <name>', 'the model')
    .addOption(
      new Option('--version <number>', 'a version that the server has').conflicts([
        'channel',
        'fromRun',
        'file',
      ]),
    )
    .addOption(new Option('--from-run <run>', 'the last version of a run').conflicts(['channel', 'file']))
    .addOption(
      new Option('--channel <name>', 'follow the head of the model').choices(['head']).conflicts(['file']),
    )
    .option('--file <path>', 'a safetensors file, put at --to and imported from there as the next version')
    .option('--to <place>', 'oci://registry/repository[:tag] or s3://bucket/key')
    .option('--digest <sha-256:hex>', 'the digest of --version, instead of asking the server')
    .option('--percent <steps>', 'the share of devices at each step, as 5,25,100')
    .option('--canary <label=value>', 'devices that get it first (may be repeated)', collect)
    .option('--gate <rule>', "a bound for what devices report, as 'accuracy>=0.9'")
    .addOption(
      new Option('--reports <n>', 'fewest devices that have to report').default(1).argParser(readCount),
    )
    .option('--bake <duration>', 'least time at each step, as 10m')
    .option('--previous <version>', 'what other devices get meanwhile, or none (default: what was there)');
  addCommit(addServer(create))
    .addHelpText(
      'after',
      `
What is not named stays as the file has it; comments stay too.

Examples:
  fededge release create --environment dev --model mnist --version 7
  fededge release create --environment dev --model mnist --version 7 --canary site=lab \\
    --percent 0,25,100 --gate 'accuracy>=0.9' --reports 3 --bake 10m --commit --push
  fededge release create --environment dev --from-run 0198c5d0-33cc-7f42-ae33-4b5c6d7e8f90
  fededge release create --environment dev --model mnist --file mnist.safetensors \\
    --to oci://registry.example/models/mnist --commit`,
    )
    .action(run<CreateOptions>(createRelease));

  const promote = group
    .command('promote')
    .description('copy a release file to another environment')
    .requiredOption('--model <name>', 'the model')
    .requiredOption('--from <environment>', 'where it is')
    .requiredOption('--to <environment>', 'where it goes');
  addCommit(promote)
    .addHelpText(
      'after',
      `
The last commit's file is copied; its \`previous\` becomes what the other environment gave so far. Version numbers are
a server's own: a server without the version waits, unless the file has a source to import it from.

Examples:
  fededge release promote --model mnist --from dev --to staging --commit
  fededge release promote --model mnist --from staging --to production --branch mnist-7 --push`,
    )
    .action(run<PromoteOptions>(promoteRelease));

  const rollback = group
    .command('rollback')
    .description('make a release file again what it was before')
    .requiredOption('--environment <name>', 'the environment')
    .requiredOption('--model <name>', 'the model')
    .option(
      '--to <revision>',
      'the content that this git revision has (default: the last that gave another version)',
    );
  addCommit(rollback)
    .addHelpText(
      'after',
      `
A content that was complete before is complete again at once, without steps.

Examples:
  fededge release rollback --environment production --model mnist --commit --push
  fededge release rollback --environment production --model mnist --to HEAD~3`,
    )
    .action(run<RollbackOptions>(rollbackRelease));

  const status = group
    .command('status')
    .description('show what devices get')
    .option('--model <name>', 'this model alone')
    .addOption(new Option('--version <number>', 'with --watch, wait for this version').argParser(readCount))
    .option('--all', 'superseded releases too')
    .option('--watch', 'go on; with --model until it is complete (exit 0), paused or halted (exit 1)')
    .option('--every <duration>', 'how often to look', '2s');
  addServer(addJson(status))
    .addHelpText(
      'after',
      `
Examples:
  fededge release status
  fededge release status --model mnist --watch --version 7
  fededge release status --json | tail -n 1 | jq '.releases[].state'`,
    )
    .action(run<StatusOptions>(showStatus));
}

function addManifests(group: Command, { run }: Settings): void {
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

function addDoctor(program: Command, { run }: Settings): void {
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

function addServer(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'the server').env('FEDEDGE_URL'))
    .addOption(
      new Option('--key-file <file>', 'the file of an operator key').env('FEDEDGE_OPERATOR_KEY_FILE'),
    );
}

function addCommit(command: Command): Command {
  return addRepository(addJson(command))
    .option('--commit', 'commit the release file and the manifests')
    .option('--branch <name>', 'commit on a new branch')
    .option('--push', 'commit, and push');
}

function addRepository(command: Command): Command {
  return command.option('--repository <folder>', 'the work tree (default: the one around this folder)');
}

function addJson(command: Command): Command {
  return command.option('--json', 'one object as the last line');
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

function readCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('A number from 1.');
}

/** The exit code of a call that commander could not take: help and version are no failures. */
export function exitCodeOf({ code, exitCode }: { code: string; exitCode: number }): number {
  return code.startsWith('commander.help') || code === 'commander.version'
    ? exitCode && EXIT_USAGE
    : EXIT_USAGE;
}
