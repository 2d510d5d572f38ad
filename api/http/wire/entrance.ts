import type { OpenAPIHono } from '@hono/zod-openapi';
import { problems } from '../../domain/errors.ts';
import type { AppEnv } from '../context.ts';
import type { Quick } from '../quick/requests.ts';
import { securityHeaders } from './answer-headers.ts';

type Fetch = OpenAPIHono<AppEnv>['fetch'];

/**
 * What a server listens with before its app exists: it takes the port early and answers 503 until `open`, but that it is
 * alive.
 */
export interface Entrance {
  fetch: Fetch;
  quick: Quick;
  /** What the 503 names as being waited for, as `/readyz` does later. */
  explain(checks: Readonly<Record<string, string>>): void;
  open(app: { fetch: Fetch; quick: Quick }): void;
}

export function createEntrance(): Entrance {
  let checks: Readonly<Record<string, string>> | undefined;
  let current: Fetch = (request) =>
    new URL(request.url).pathname === '/livez' ? alive() : unavailable(checks);
  let quick: Quick = () => false;
  return {
    fetch: (...request) => current(...request),
    quick: (...request) => quick(...request),
    explain: (waitedFor) => {
      checks = waitedFor;
    },
    open: (app) => {
      current = app.fetch;
      quick = app.quick;
    },
  };
}

function alive(): Response {
  const headers = { ...securityHeaders({ publicUrl: '' }), 'content-type': 'application/json' };
  return new Response(JSON.stringify({ status: 'alive' }), { headers });
}

function unavailable(checks: Readonly<Record<string, string>> | undefined): Response {
  const [status, title, help] = problems.unavailable;
  const type = '/docs/problems#unavailable';
  const document = { type, title, status, code: 'unavailable', help, ...(checks && { checks }) };
  return new Response(JSON.stringify(document), {
    status,
    headers: {
      ...securityHeaders({ publicUrl: '' }),
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'retry-after': '1',
    },
  });
}
