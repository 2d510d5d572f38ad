import { Command, InvalidArgumentError } from 'commander';

export const DEFAULT_DATA_DIR = '.data/demo';

export interface DemoOptions {
  devices: number;
  rounds: number;
  dataDir: string;
  port: number;
  json: boolean;
}

const EXAMPLES = `
Examples:
  npm run demo                                 ten devices, a bar a round
  npm run demo -- --devices 4 --rounds 3       a smaller one
  npm run demo -- --json                       the result for programs
  npm run demo -- --data-dir /tmp/federation   keeps its state there

Ctrl-C stops it; the same command goes on where it was.`;

/** Reads the command line; prints help or what is wrong with it and exits. */
export function readOptions(argv: readonly string[]): DemoOptions {
  return new Command('npm run demo --')
    .description(
      'Trains a digit classifier on MNIST with devices that keep their data, through the HTTP API.',
    )
    .option('--devices <count>', 'device processes', integer(1, 64), 10)
    .option('--rounds <count>', 'rounds to train', integer(1, 1000), 8)
    .option('--data-dir <folder>', 'where the server and the devices keep their state', DEFAULT_DATA_DIR)
    .option('--port <port>', 'port of the server; 0 takes a free one', integer(0, 65_535), 0)
    .option('--json', 'print one JSON object as the last line', false)
    .addHelpText('after', EXAMPLES)
    .parse(argv)
    .opts<DemoOptions>();
}

function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`a whole number from ${least} to ${most}.`);
  };
}
