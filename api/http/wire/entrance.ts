import type { OpenAPIHono } from '@hono/zod-openapi';
import { problems } from '../../domain/errors.ts';
import type { AppEnv } from '../context.ts';
import { securityHeaders } from './answer-headers.ts';

type Fetch = OpenAPIHono<AppEnv>['fetch'];

/** What a server listens with before its app exists: it takes the port early and answers 503 until `open`. */
export interface Entrance {
  fetch: Fetch;
  open(app: { fetch: Fetch }): void;
}

export function createEntrance(): Entrance {
  let current: Fetch = () => unavailable();
  return {
    fetch: (...request) => current(...request),
    open: (app) => {
      current = app.fetch;
    },
  };
}

function unavailable(): Response {
  const [status, title, help] = problems.unavailable;
  const document = { type: '/docs/problems#unavailable', title, status, code: 'unavailable', help };
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
