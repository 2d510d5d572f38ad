/**
 * What the server refused, or failed at: its problem document (RFC 9457), or what a proxy between us answered. Switch
 * on `code`; the codes are listed in the documentation of the API. A proxy's own answer has the code `http_STATUS`.
 */
export class ProblemError extends Error {
  readonly code: string;
  readonly status: number;
  /** Names the request in the server's log. */
  readonly requestId: string | undefined;
  /** How long the server asks us to stay away. */
  readonly retryAfterMs: number | undefined;
  /** The whole document. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(response: Response, body: unknown) {
    const details = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
    const code = textOf(details.code) ?? `http_${response.status}`;
    const reason = textOf(details.reason) ?? textOf(details.error_description) ?? faultsOf(details.errors);
    super(
      `${code}: ${textOf(details.title) ?? `the server answered ${response.status}`}${reason ? ` (${reason})` : ''}`,
    );
    this.name = 'ProblemError';
    this.code = code;
    this.status = response.status;
    this.requestId = textOf(details.requestId) ?? response.headers.get('x-request-id') ?? undefined;
    this.retryAfterMs = readRetryAfter(response.headers);
    this.details = details;
  }
}

/** No answer came, or it broke off: whether the request had its effect is not known. */
export class ConnectionError extends Error {
  constructor(cause: unknown) {
    super(`the server was not reached: ${messageOf(cause)}`, { cause });
    this.name = 'ConnectionError';
  }
}

/** The delay of a Retry-After in seconds; a date, which depends on two clocks, is passed over. */
export function readRetryAfter(headers: Headers): number | undefined {
  const seconds = headers.get('retry-after');
  return seconds !== null && /^\d{1,6}$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}

const PASSING_CODES = new Set(['body_incomplete', 'digest_mismatch', 'idempotency_in_progress']);
const PASSING_STATUSES = new Set([408, 425, 429]);

/** True if the same request may succeed later. */
export function isPassing(error: unknown): error is ProblemError | ConnectionError {
  if (error instanceof ConnectionError) return true;
  if (!(error instanceof ProblemError)) return false;
  return error.status >= 500 || PASSING_STATUSES.has(error.status) || PASSING_CODES.has(error.code);
}

export function hasCode(error: unknown, ...codes: string[]): error is ProblemError {
  return error instanceof ProblemError && codes.includes(error.code);
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function faultsOf(errors: unknown): string | undefined {
  if (!Array.isArray(errors)) return undefined;
  return errors
    .map((fault: { path?: unknown; message?: unknown }) => `${fault.path}: ${fault.message}`)
    .join('; ');
}
