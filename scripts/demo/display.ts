import cliProgress from 'cli-progress';

/** A line of progress: one of the rounds, say. */
export interface Progress {
  name: string;
  value: number;
  total: number;
  /** Of the value. */
  unit: string;
  status: string;
  /** Nothing more will come. */
  done: boolean;
}

/** Shows what goes on: bars in a terminal, a line for what is finished elsewhere. */
export interface Display {
  /** A line of text, also while bars are on the screen. */
  say(text: string): void;
  /** Shows a line of progress, or how it stands now; `name` tells which. */
  update(progress: Progress): void;
}

/** Fits a line into 80 columns. */
const BAR = {
  ...cliProgress.Presets.shades_classic,
  barsize: 24,
  barCompleteString: '\u2588'.repeat(24),
  barIncompleteString: '\u2591'.repeat(24),
  barGlue: '',
};
const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';

export function createDisplay(options: { toStandardError: boolean }): Display {
  const stream = options.toStandardError ? process.stderr : process.stdout;
  return stream.isTTY ? createBars(stream) : createLines(stream);
}

/**
 * Finished bars become text above the moving ones, so that any number of them fits on any screen. A frame is one write
 * that overwrites the last one, so that nothing flickers.
 */
function createBars(stream: NodeJS.WriteStream): Display {
  const moving = new Map<string, string>();
  let drawn = 0;
  let last = '';
  const draw = (above: readonly string[] = []) => {
    const lines = [...moving.values()];
    const all = [...above, ...lines].map((line) => `${line}${ERASE_LINE}\n`).join('');
    const frame = `\r${drawn > 0 ? `\x1b[${drawn}A` : ''}${all}${ERASE_BELOW}`;
    if (frame !== last || above.length > 0) stream.write(HIDE_CURSOR + frame);
    drawn = lines.length;
    last = frame;
  };
  process.once('exit', () => stream.write(SHOW_CURSOR));
  const finished = new Set<string>();
  return {
    say: (text) => draw(text.split('\n')),
    update(progress) {
      if (finished.has(progress.name)) return;
      const line = describeBar(progress).slice(0, (stream.columns || 80) - 1);
      if (!progress.done) {
        moving.set(progress.name, line);
        draw();
        return;
      }
      finished.add(progress.name);
      moving.delete(progress.name);
      draw([line]);
    },
  };
}

function describeBar(progress: Progress): string {
  const { name, value, total, status } = progress;
  const bar = cliProgress.Format.BarFormat(Math.min(value / Math.max(total, 1), 1), BAR);
  return `  ${name}  ${bar}  ${describeValue(progress)}  ${status}`;
}

function createLines(stream: NodeJS.WriteStream): Display {
  const finished = new Set<string>();
  const say = (text: string) => void stream.write(`${text}\n`);
  return {
    say,
    update(progress) {
      const { name, status, done } = progress;
      if (!done || finished.has(name)) return;
      finished.add(name);
      say(`  ${name}  ${describeValue(progress)}  ${status}`.trimEnd());
    },
  };
}

function describeValue({ value, total, unit }: Progress): string {
  return `${String(value).padStart(String(total).length)}/${total} ${unit}`;
}
