import cliProgress from 'cli-progress';

export interface RoundProgress {
  number: number;
  state: 'pending' | 'collecting' | 'aggregating' | 'completed' | 'failed';
  accepted: number;
  expected: number;
  /** Of the version that the round published, once the server has scored it. */
  accuracy?: number | undefined;
  reason?: string | undefined;
}

/** Shows rounds as they go: bars in a terminal, a line for each finished round elsewhere. */
export interface Progress {
  update(round: RoundProgress): void;
  stop(): void;
}

export function createProgress(options: { rounds: number; quiet: boolean }): Progress {
  return process.stdout.isTTY && !options.quiet ? createBars(options.rounds) : createLines(options);
}

function createBars(rounds: number): Progress {
  const container = new cliProgress.MultiBar(
    { format: '  round {round}  {bar}  {value}/{total} updates  {status}', hideCursor: true, fps: 20 },
    cliProgress.Presets.shades_classic,
  );
  const bars = new Map<number, cliProgress.SingleBar>();
  return {
    update(round) {
      const payload = { round: label(round.number, rounds), status: describe(round) };
      const bar = bars.get(round.number) ?? container.create(round.expected, 0, payload);
      bars.set(round.number, bar);
      bar.setTotal(Math.max(round.expected, 1));
      bar.update(round.accepted, payload);
    },
    stop: () => container.stop(),
  };
}

function createLines({ rounds, quiet }: { rounds: number; quiet: boolean }): Progress {
  const told = new Set<string>();
  return {
    update(round) {
      const over = round.accuracy !== undefined || round.state === 'failed';
      const key = `${round.number} ${round.state}`;
      if (quiet || !over || told.has(key)) return;
      told.add(key);
      const updates = `${round.accepted}/${round.expected} updates`;
      console.log(`  round ${label(round.number, rounds)}  ${updates}  ${describe(round)}`);
    },
    stop: () => undefined,
  };
}

function describe({ state, accuracy, reason }: RoundProgress): string {
  if (accuracy !== undefined) return `accuracy ${(accuracy * 100).toFixed(2)} %`;
  if (state === 'failed') return `failed: ${reason}`;
  return {
    pending: 'waits for devices',
    collecting: 'training',
    aggregating: 'folding',
    completed: 'scoring',
  }[state];
}

function label(number: number, rounds: number): string {
  return `${String(number).padStart(String(rounds).length)}/${rounds}`;
}
