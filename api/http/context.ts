import type { HttpBindings } from '@hono/node-server';
import type { Logger } from 'pino';
import type { Policy, Principal } from '../domain/role.ts';
import type { Answer, KeyedRequest } from '../services/journal/idempotency.ts';
import type { UploadSlots } from './limits/upload-slots.ts';

/** What every handler finds in its context. */
export interface AppEnv {
  /** Absent when a test calls `app.request`. */
  Bindings: Partial<HttpBindings>;
  Variables: {
    requestId: string;
    /** When it came, as `performance.now()` has it. */
    started: number;
    /** The operation's id; unset where no route took the request. */
    operation: string | undefined;
    /** Bytes of a model file that go out with the answer. */
    fileBytes: number | undefined;
    log: Logger;
    /** Reads the credentials of the request and holds them against the policy. Throws a FedEdgeError. */
    authenticate(authorization: string | undefined, policy: Exclude<Policy, 'public'>): Promise<Principal>;
    /** Gives requests that share an Idempotency-Key one effect and one answer. */
    answerOnce(
      request: KeyedRequest,
      work: () => Promise<Answer>,
    ): Promise<{ answer: Answer; replayed: boolean }>;
    /** The headers that an answer to this request has, whatever it says. */
    commonHeaders: Readonly<Record<string, string>>;
    /** Counts the request as one of this principal's. Throws `rate_limited`. */
    countRequest(principal: Principal): void;
    /** Who reads a tensor body has to be in here. */
    uploads: UploadSlots;
    /** Set wherever the operation's policy is not `public`. */
    principal: Principal;
  };
}
