import { Cron } from 'croner';
import type { RunRequest } from '../../rounds/runs.ts';
import type { FileReading } from './catalog-files.ts';

/** Reads the body of POST /v1/runs: the operation's own schema. */
export type ReadRun = (body: unknown) => FileReading<RunRequest>;

export interface RunFile {
  request: RunRequest;
  /** When it runs, in UTC. Undefined: once. */
  cron: string | undefined;
}

/** Reads a run file: the body of POST /v1/runs, maybe with a schedule. */
export function readRunFile(name: string, document: object, readRun: ReadRun): FileReading<RunFile> {
  const { schedule, ...body } = document as { schedule?: unknown };
  const reading = readRun({ ...body, name });
  if (!reading.ok) return reading;
  const request = reading.value;
  if (schedule === undefined) return { ok: true, value: { request, cron: undefined } };
  const keys = typeof schedule === 'object' && schedule !== null ? Object.keys(schedule) : [];
  const cron = keys.join() === 'cron' ? (schedule as { cron: unknown }).cron : undefined;
  if (typeof cron !== 'string') return { ok: false, message: 'schedule: has to have cron, and nothing else' };
  const fault = cronFault(cron);
  return fault === undefined
    ? { ok: true, value: { request, cron } }
    : { ok: false, message: `schedule.cron: ${fault}` };
}

/** The first time after `now` that a schedule names. */
export function nextDue(cron: string, now: Date): Date | null {
  return new Cron(cron, { timezone: 'UTC' }).nextRun(now);
}

function cronFault(cron: string): string | undefined {
  try {
    return new Cron(cron, { timezone: 'UTC' }).nextRun() ? undefined : 'is never due';
  } catch (error) {
    return (error as Error).message;
  }
}
