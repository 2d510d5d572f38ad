import { type Command, Option } from 'commander';
import { type CreateOptions, createRelease } from '../verbs/release-create.ts';
import { type HaltOptions, haltRelease } from '../verbs/release-halt.ts';
import { type PromoteOptions, promoteRelease } from '../verbs/release-promote.ts';
import { type RollbackOptions, rollbackRelease } from '../verbs/release-rollback.ts';
import { type StatusOptions, showStatus } from '../verbs/release-status.ts';
import { addCommit, addJson, addServer, collect, type Runner, readCount } from './options.ts';

/** The verbs of `fededge release`, in the order of a release's life. */
export function addReleases(group: Command, runner: Runner): void {
  addCreate(group, runner);
  addPromote(group, runner);
  addRollback(group, runner);
  addHalt(group, runner);
  addStatus(group, runner);
}

function addCreate(group: Command, { run }: Runner): void {
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
}

function addPromote(group: Command, { run }: Runner): void {
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
}

function addRollback(group: Command, { run }: Runner): void {
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
}

function addHalt(group: Command, { run }: Runner): void {
  const halt = group
    .command('halt')
    .description('stop a rollout: devices go back to the version before')
    .requiredOption('--model <name>', 'the model')
    .addOption(
      new Option('--version <number>', 'only if this is the version that it gives').argParser(readCount),
    );
  addServer(addJson(halt))
    .addHelpText(
      'after',
      `
The server does it at once, at whatever step the release is, and holds it until the content of the release file changes:
release another version, or go back in git too with fededge release rollback. It needs the role releaser.

Examples:
  fededge release halt --model mnist
  fededge release halt --model mnist --version 7 --url https://fededge.example --key-file ~/.fededge/releaser-key
  fededge release halt --model mnist --json | tail -n 1 | jq .release.previous`,
    )
    .action(run<HaltOptions>(haltRelease));
}

function addStatus(group: Command, { run }: Runner): void {
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
