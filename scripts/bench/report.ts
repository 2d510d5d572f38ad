import type { Row } from './measure.ts';

export interface Report {
  bench: string;
  machine: Row;
  rows: Row[];
}

/** One line, for programs. */
export function writeJson(report: Report): string {
  return JSON.stringify(report);
}

/** A table of all that the rows have, for people. */
export function writeTable({ bench, machine, rows }: Report): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [names, ...rows.map((row) => names.map((name) => show(row[name])))];
  const widths = names.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const isNumber = names.map((name) => rows.every((row) => typeof row[name] !== 'string'));
  const write = (line: string[]) =>
    line
      .map((cell, column) =>
        isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  const about = Object.entries(machine).map(([name, value]) => `${name} ${show(value)}`);
  return [`${bench} (${about.join(', ')})`, '', ...lines.map(write), ''].join('\n');
}

function show(value: Row[string] | undefined): string {
  if (value === null || value === undefined) return '-';
  return typeof value === 'boolean' ? (value ? 'yes' : 'NO') : String(value);
}
