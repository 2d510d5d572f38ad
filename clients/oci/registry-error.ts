/** A registry refused, or answered what is none of its answers. `status` is 0 without an answer. */
export class RegistryError extends Error {
  readonly status: number;

  constructor(message: string, status: number, cause?: unknown) {
    super(message, { cause });
    this.name = 'RegistryError';
    this.status = status;
  }
}

/** The refusal of a request, with what the registry says of it (OCI distribution specification, error codes). */
export async function refusal(what: string, response: Response): Promise<RegistryError> {
  const text = await response.text().catch(() => '');
  const reasons = [...text.slice(0, 4096).matchAll(/"(?:code|message)"\s*:\s*"([^"]*)"/g)].map(
    ([, part]) => part,
  );
  const reason = reasons.length > 0 ? ` (${reasons.join(': ')})` : '';
  return new RegistryError(`${what}: the registry answered ${response.status}${reason}`, response.status);
}
