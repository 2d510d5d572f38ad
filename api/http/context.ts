import type { HttpBindings } from '@hono/node-server';
import type { Logger } from 'pino';
import type { Policy, Principal } from '../domain/role.ts';
import type { Answer, KeyedRequest } from '../services/journal/idempotency.ts';

/** What every handler finds in its context. */
export interface AppEnv {
  /** Absent when a test calls `app.request`. */
  Bindings: Partial<HttpBindings>;
  Variables: {
    requestId: string;
    log: Logger;
    /** Reads the credentials of the request and holds them against the policy. Throws a FedEdgeError. */
    authenticate(authorization: string | undefined, policy: Exclude<Policy, 'public'>): Promise<Principal>;
    /** Gives requests that share an Idempotency-Key one effect and one answer. */
    answerOnce(
      request: KeyedRequest,
      work: () => Promise<Answer>,
    ): Promise<{ answer: Answer; replayed: boolean }>;
    /** Set wherever the operation's policy is not `public`. */
    principal: Principal;
  };
}
