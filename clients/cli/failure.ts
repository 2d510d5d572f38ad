/** Exit codes: what scripts may rely on. */
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/** Something that the person or script that called has to know: what is wrong, and what to do next. */
export class Failure extends Error {
  readonly next: string | undefined;
  readonly exitCode: number;

  constructor(message: string, next?: string, exitCode = EXIT_FAILURE) {
    super(message);
    this.name = 'Failure';
    this.next = next;
    this.exitCode = exitCode;
  }
}

/** A call that cannot be understood. */
export function misuse(message: string, next?: string): Failure {
  return new Failure(message, next, EXIT_USAGE);
}
