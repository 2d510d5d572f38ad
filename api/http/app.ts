import { randomUUID } from 'node:crypto';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Deps } from '../deps.ts';
import { authenticate } from '../services/identity/authentication.ts';
import { answerOnce } from '../services/journal/idempotency.ts';
import { createWaitingRoom } from '../services/rounds/waiting-room.ts';
import type { AppEnv } from './context.ts';
import { buildDocument, type Document } from './contract/document.ts';
import { renderError } from './contract/problems.ts';
import { createGuards, type GuardOptions } from './limits/guards.ts';
import { createQuickDownloads } from './quick/downloads.ts';
import { createQuickPolls } from './quick/polls.ts';
import { createFailures, type Quick } from './quick/requests.ts';
import { createQuickUpdates } from './quick/updates.ts';
import { assignmentRoutes } from './routes/assignments.ts';
import { auditRoutes } from './routes/audit.ts';
import { devicesRoutes } from './routes/devices.ts';
import { docsRoutes } from './routes/docs.ts';
import { enrollmentTokensRoutes } from './routes/enrollment-tokens.ts';
import { eventsRoutes } from './routes/events.ts';
import { modelsRoutes } from './routes/models.ts';
import { operatorKeysRoutes } from './routes/operator-keys.ts';
import { ownDeviceRoutes } from './routes/own-device.ts';
import { releasesRoutes } from './routes/releases.ts';
import { roundsRoutes } from './routes/rounds.ts';
import { runsRoutes } from './routes/runs.ts';
import { systemRoutes } from './routes/system.ts';
import { tokensRoutes } from './routes/tokens.ts';
import { uploadsRoutes } from './routes/uploads.ts';
import { versionsRoutes } from './routes/versions.ts';
import { wellKnownRoutes } from './routes/well-known.ts';
import { renderUnknown } from './unknown-routes.ts';
import { createHotFiles } from './wire/hot-files.ts';
import { measureRequests } from './wire/measured-requests.ts';
import { closeUnreadBodies } from './wire/unread-bodies.ts';

/** The whole HTTP API, with what it can answer before a router has a look. */
export interface Api {
  app: OpenAPIHono<AppEnv>;
  quick: Quick;
}

export function createApp(deps: Deps, options: GuardOptions = {}): OpenAPIHono<AppEnv> {
  return createApi(deps, options).app;
}

/** Stateless: any number of replicas may serve the same database and blobs. */
export function createApi(deps: Deps, options: GuardOptions = {}): Api {
  const hot = createHotFiles(deps.blobs);
  const guards = createGuards(deps, options);
  const failures = createFailures();
  const downloads = createQuickDownloads(deps, guards, { hot, failures });
  const updates = createQuickUpdates(deps, guards, { failures });
  const waitingRoom = createWaitingRoom(deps);
  const polls = createQuickPolls(deps, guards, { waitingRoom, failures });
  const app = new OpenAPIHono<AppEnv>();
  let document: Document | undefined;
  const readDocument = () => {
    document ??= buildDocument(app);
    return document;
  };
  app.use(closeUnreadBodies);
  app.use(measureRequests(deps));
  app.use(async (c, next) => {
    const requestId = randomUUID();
    c.set('requestId', requestId);
    c.set('log', deps.log.child({ requestId }));
    c.set('authenticate', (authorization, policy) => authenticate(deps, authorization, policy));
    c.set('answerOnce', (request, work) => answerOnce(deps, request, work));
    await next();
    c.get('log').info({
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      ms: Math.round(performance.now() - c.get('started')),
    });
  });
  app.use(guards.prepare);
  app.use(failures.rethrow);
  for (const handler of guards.handlers) app.use(handler);
  app.route('/', wellKnownRoutes(deps));
  app.route('/', enrollmentTokensRoutes(deps));
  app.route('/', ownDeviceRoutes(deps));
  app.route('/', devicesRoutes(deps));
  app.route('/', tokensRoutes(deps));
  app.route('/', operatorKeysRoutes(deps));
  app.route('/', modelsRoutes(deps));
  app.route('/', versionsRoutes(deps, hot));
  app.route('/', releasesRoutes(deps));
  app.route('/', runsRoutes(deps));
  app.route('/', roundsRoutes(deps));
  app.route('/', assignmentRoutes(deps, waitingRoom));
  app.route('/', uploadsRoutes(deps));
  app.route('/', eventsRoutes(deps));
  app.route('/', auditRoutes(deps));
  app.route('/', systemRoutes(deps, readDocument));
  app.route('/', docsRoutes(readDocument));
  app.onError(renderError);
  app.notFound((c) => renderUnknown(c, readDocument()));
  return { app, quick: (...request) => downloads(...request) || updates(...request) || polls(...request) };
}
