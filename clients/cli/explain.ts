import { RegistryError } from '../oci/index.ts';
import { ConnectionError, ProblemError } from '../typescript/http/problem-error.ts';
import { Failure } from './failure.ts';

/** What to do about a refusal, where the code alone says it. */
const NEXT: Readonly<Record<string, string>> = {
  unauthorized: 'Check the key: --key-file or FEDEDGE_OPERATOR_KEY_FILE names the file that holds it.',
  forbidden:
    'Use a key with the role that this needs: viewer to look, releaser to halt (fededge doctor tells the role).',
  not_found: 'Check the name: it is not there, or not in the federation of this key.',
};

/** The failure that an error amounts to; undefined for one that nobody expected. */
export function explain(error: unknown): Failure | undefined {
  if (error instanceof Failure) return error;
  if (error instanceof ConnectionError) {
    return new Failure(error.message, 'Is the server running, and is the URL right? fededge doctor looks.');
  }
  if (error instanceof ProblemError) return new Failure(error.message, nextOf(error));
  if (error instanceof RegistryError) {
    const next =
      error.status === 401 || error.status === 403 ? CREDENTIALS : 'Check the name of the registry.';
    return new Failure(error.message, next);
  }
  return undefined;
}

const CREDENTIALS =
  'Sign in with docker login, or set FEDEDGE_REGISTRY_USERNAME and FEDEDGE_REGISTRY_PASSWORD_FILE.';

function nextOf({ code, details }: ProblemError): string | undefined {
  return NEXT[code] ?? (typeof details.help === 'string' ? details.help : undefined);
}
