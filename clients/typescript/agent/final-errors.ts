import { hasCode } from '../http/problem-error.ts';

/** True for answers after which this device, with this key and this token, has nothing left to try. */
export function isFinal(error: unknown): boolean {
  return hasCode(
    error,
    'device_revoked',
    'key_refused',
    'invalid_key',
    'invalid_proof',
    'enrollment_token_invalid',
    'enrollment_token_expired',
    'enrollment_token_used_up',
  );
}
