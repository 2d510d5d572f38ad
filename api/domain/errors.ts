/**
 * Every error that the API answers with, in one table: the status (RFC 9110), a title, and what the caller should do.
 * Codes are stable: clients switch on them. `api/http/problems.ts` renders them (RFC 9457).
 */
export const problems = {
  invalid_request: [400, 'The request is not valid', 'Correct the fields that the problem names.'],
  invalid_digest: [
    400,
    'Content-Digest is missing or not readable',
    'Send Content-Digest: sha-256=:BASE64: (RFC 9530).',
  ],
  digest_mismatch: [400, 'The body does not have the digest that was declared', 'Send the body again.'],
  body_incomplete: [400, 'The body ended early or did not fit its declared length', 'Send the body again.'],
  invalid_cursor: [400, 'The cursor is not one of ours', 'Take the cursor from nextCursor as it is.'],
  invalid_proof: [
    400,
    'The proof of possession does not hold',
    'Sign aud, iat, jti and the token hash with the key.',
  ],
  invalid_key: [400, 'The public key is not usable', 'Send an Ed25519 or P-256 public key as a JWK.'],
  unsupported_grant_type: [
    400,
    'The grant type is not supported',
    'Send grant_type=client_credentials (RFC 6749 section 4.4).',
  ],
  unauthorized: [
    401,
    'No valid credentials',
    'Send Authorization: Bearer with a valid access token or operator key.',
  ],
  token_expired: [401, 'The access token has expired', 'Get a new one from POST /v1/token.'],
  clock_skew: [401, 'The clock of the caller is off', 'Set the clock by serverTime and sign again.'],
  invalid_client: [
    401,
    'The client assertion does not hold',
    'Sign a fresh assertion with the registered key.',
  ],
  device_pending: [
    401,
    'The device waits for approval',
    'Wait until an operator approves it, then try again.',
  ],
  device_revoked: [401, 'The device is revoked', 'Nothing: this key is refused for ever.'],
  enrollment_token_invalid: [
    403,
    'The enrolment token is unknown or revoked',
    'Ask the operator for a new one.',
  ],
  enrollment_token_expired: [403, 'The enrolment token has expired', 'Ask the operator for a new one.'],
  enrollment_token_used_up: [403, 'The enrolment token has no uses left', 'Ask the operator for a new one.'],
  key_refused: [403, 'This key was revoked, replaced or belongs to another device', 'Make a new key.'],
  forbidden: [403, 'The role does not allow this', 'Use credentials with the role that the operation names.'],
  not_in_cohort: [403, 'The assignment is not open for this device', 'Poll for an assignment.'],
  not_found: [404, 'There is no such thing, or none that you may see', 'Check the identifier.'],
  no_version: [404, 'The model has no version yet', 'Upload initial weights.'],
  no_release: [404, 'The release gives this device no version', 'Ask again later.'],
  method_not_allowed: [405, 'The method is not allowed here', 'See the Allow header.'],
  not_acceptable: [
    406,
    'None of the accepted types can be served',
    'Accept the type that the operation documents.',
  ],
  conflict: [409, 'The state does not allow this', 'Fetch the object again and decide anew.'],
  name_taken: [409, 'The name is taken', 'Choose another name.'],
  model_busy: [409, 'The model has a run that is not over', 'Wait for the run or stop it.'],
  late: [409, 'The update came after its round closed', 'Drop it and poll for the next assignment.'],
  full: [409, 'The round has all the updates that it takes', 'Drop it and poll for the next assignment.'],
  stale: [
    409,
    'The base version of the update is too old',
    'Drop it and poll: the next assignment has a fresh base.',
  ],
  update_conflict: [
    409,
    'The assignment has another update already',
    'Keep the first one; poll for the next assignment.',
  ],
  assignment_settled: [409, 'The assignment is settled', 'Poll for the next assignment.'],
  evaluation_conflict: [409, 'The assignment has other results already', 'Keep the first ones.'],
  upload_offset: [
    409,
    'The offset is not where the upload stands',
    'Ask by HEAD and continue from Upload-Offset.',
  ],
  upload_length: [
    400,
    'The length is not the one that the upload was begun with',
    'Send exactly the bytes that are missing, and the same Upload-Length.',
  ],
  upload_complete: [409, 'The upload is complete already', 'Nothing is left to send.'],
  idempotency_in_progress: [
    409,
    'The first request with this key is still running',
    'Repeat it a little later.',
  ],
  idempotency_answer_lost: [
    409,
    'The first request with this key took effect, but its answer was lost',
    'Look for what it made before you repeat it with a fresh key.',
  ],
  length_required: [411, 'Content-Length is missing', 'Send Content-Length.'],
  too_large: [413, 'The body is larger than allowed', 'Send at most maxBytes.'],
  unsupported_media_type: [
    415,
    'The media type is not supported',
    'Send the type that the operation documents.',
  ],
  range_not_satisfiable: [416, 'The range lies outside of the file', 'Ask for a range within its bytes.'],
  malformed: [422, 'The tensors do not fit what was asked for', 'See reason; the assignment stays open.'],
  invalid_manifest: [422, 'The manifest is not valid', 'See reason.'],
  architecture_refused: [
    422,
    'The architecture is not accepted',
    'Use layers that carry no code; see reason.',
  ],
  invalid_run: [422, 'The run cannot be created as described', 'See reason.'],
  idempotency_key_reused: [422, 'The Idempotency-Key was used for another request', 'Use a fresh key.'],
  rate_limited: [
    429,
    'Too many requests',
    'Repeat the request after Retry-After seconds; RateLimit and RateLimit-Policy tell the limit.',
  ],
  internal: [500, 'Something went wrong on our side', 'Repeat the request; tell the operator if it stays.'],
  unavailable: [
    503,
    'A part that the server needs is not available',
    'Repeat the request after Retry-After seconds.',
  ],
  overloaded: [503, 'The server has too much to do', 'Repeat the request after Retry-After seconds.'],
  shutting_down: [503, 'The server is shutting down', 'Repeat the request after Retry-After seconds.'],
} as const satisfies Record<string, readonly [status: number, title: string, help: string]>;

export type ProblemCode = keyof typeof problems;

/**
 * The one error that services throw. `details` are members of the problem document (safe to show), `cause` is for the
 * log alone.
 */
export class FedEdgeError extends Error {
  readonly code: ProblemCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ProblemCode, details: Readonly<Record<string, unknown>> = {}, options?: ErrorOptions) {
    super(`${code}: ${problems[code][1]}`, options);
    this.name = 'FedEdgeError';
    this.code = code;
    this.details = details;
  }
}
