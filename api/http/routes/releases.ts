import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { describeCatalog } from '../../services/releases/catalog/catalogs.ts';
import { haltRelease, listReleases, requireRelease } from '../../services/releases/releases.ts';
import { reportVersion } from '../../services/releases/reports.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, readPage, toPage } from '../contract/pagination.ts';
import { asDevice } from '../principals.ts';
import {
  Catalog,
  Release,
  ReportVersion,
  releaseId,
  toCatalog,
  toRelease,
  VersionReport,
} from '../schemas/releases.ts';
import { modelName, versionNumber } from '../schemas/versions.ts';

const tag = 'Releases';
const params = z.object({ release: releaseId });

const listReleasesOperation = defineOperation({
  method: 'get',
  path: '/v1/releases',
  operationId: 'listReleases',
  tag,
  summary: 'List the releases',
  description:
    'One for each content that a release file of the catalog ever had; at most one of a model is not `superseded`. ' +
    'The catalog lies in git: releases are written by the server that reads it, and by nobody else.',
  policy: 'viewer',
  request: { query: orderedPageQuery.extend({ model: modelName.optional() }) },
  responses: { 200: json(pageOf(Release, 'ReleasePage'), 'A page of releases.') },
});

const getReleaseOperation = defineOperation({
  method: 'get',
  path: '/v1/releases/{release}',
  operationId: 'getRelease',
  tag,
  summary: 'Get a release',
  policy: 'viewer',
  request: { params },
  responses: { 200: json(Release, 'The release.') },
});

const haltReleaseOperation = defineOperation({
  method: 'post',
  path: '/v1/releases/{release}/halt',
  operationId: 'haltRelease',
  tag,
  summary: 'Halt a release',
  description:
    'All devices get `previous` from now on. It stays so until the content of the release file changes. A halted release ' +
    'stays as it is.',
  policy: 'releaser',
  idempotent: true,
  request: { params },
  responses: { 200: json(Release, 'The halted release.') },
  problems: ['conflict'],
});

const getCatalogOperation = defineOperation({
  method: 'get',
  path: '/v1/catalog',
  operationId: 'getCatalog',
  tag,
  summary: 'Tell which files of the catalog do not hold, and which runs wait',
  policy: 'viewer',
  responses: { 200: json(Catalog, 'What the last look at the catalog found.') },
});

const reportVersionOperation = defineOperation({
  method: 'post',
  path: '/v1/models/{model}/versions/{version}/reports',
  operationId: 'reportVersion',
  tag,
  summary: 'Report how a version does on the device',
  description:
    "For the version that `current` names. The last report of a device about a version counts in its release's gate.",
  policy: 'device',
  request: {
    params: z.object({ model: modelName, version: versionNumber }),
    body: jsonBody(ReportVersion),
  },
  responses: { 200: json(VersionReport, 'Taken.') },
});

export function releasesRoutes(deps: Deps) {
  return createRouter()
    .openapi(listReleasesOperation, async (c) => {
      const { model, ...query } = c.req.valid('query');
      const rows = await listReleases(deps, c.get('principal'), { model, page: readPage(query) });
      return c.json(toPage(rows, query.limit, { item: toRelease, cursor: ({ id }) => id }), 200);
    })
    .openapi(getReleaseOperation, async (c) =>
      c.json(toRelease(await requireRelease(deps, c.get('principal'), c.req.valid('param').release)), 200),
    )
    .openapi(haltReleaseOperation, async (c) =>
      c.json(toRelease(await haltRelease(deps, c.get('principal'), c.req.valid('param').release)), 200),
    )
    .openapi(getCatalogOperation, async (c) =>
      c.json(toCatalog(await describeCatalog(deps, c.get('principal'))), 200),
    )
    .openapi(reportVersionOperation, async (c) => {
      const { receivedAt, ...report } = await reportVersion(
        deps,
        asDevice(c.get('principal')),
        c.req.valid('param'),
        c.req.valid('json'),
      );
      return c.json({ ...report, receivedAt: receivedAt.toISOString() }, 200);
    });
}
