import { stripVTControlCharacters, styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Where a verb speaks. Nothing of it is needed to do the work. */
export interface Terminal {
  /** Somebody can answer: both ends are a terminal. */
  readonly isInteractive: boolean;
  /** Standard output can be redrawn in place. */
  readonly canRedraw: boolean;
  readonly hasColour: boolean;
  /** A line for people. With --json it goes to standard error. */
  say(line: string): void;
  /** The one object of --json, as the last line; without --json nothing. */
  result(value: unknown): void;
  style(style: Style, text: string): string;
  /** Draws lines in the place of those that it drew before. */
  redraw(lines: readonly string[]): void;
}

export interface Streams {
  stdin: { isTTY?: boolean };
  stdout: { isTTY?: boolean; write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

export interface TerminalOptions {
  streams: Streams;
  json: boolean;
  env: Record<string, string | undefined>;
}

export function openTerminal({ json, env, streams }: TerminalOptions): Terminal {
  const { stdin, stdout, stderr } = streams;
  const isTty = stdout.isTTY === true;
  const hasColour = isTty && !json && !env.NO_COLOR && env.TERM !== 'dumb';
  const canRedraw = isTty && !json && env.TERM !== 'dumb';
  let drawn = 0;
  const say = (line: string) => void (json ? stderr : stdout).write(`${line}\n`);
  return {
    isInteractive: canRedraw && stdin.isTTY === true && !env.CI,
    canRedraw,
    hasColour,
    say,
    result(value) {
      if (json) stdout.write(`${JSON.stringify(value)}\n`);
    },
    style: (style, text) => (hasColour ? styleText(style, text, { validateStream: false }) : text),
    redraw(lines) {
      if (drawn > 0) stdout.write(`\u001b[${drawn}A\u001b[J`);
      for (const line of lines) say(line);
      drawn = lines.length;
    },
  };
}

/** How many columns a text takes: the styles take none. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
