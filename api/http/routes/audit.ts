import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { readAudit } from '../../services/journal/audit.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';
import { orderedPageQuery, pageOf, readPage, toPage } from '../contract/pagination.ts';
import { instant } from '../schemas/runs.ts';

const hash = (description: string, example: string) =>
  z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .openapi({ description, example });

const AuditEntry = z
  .object({
    position: z.int().min(1).openapi({ description: 'Counts from 1 without gaps.', example: 7 }),
    federation: z.string().max(100).openapi({ example: 'default' }),
    actor: z.string().max(200).openapi({
      description: '`operator:ID`, `device:ID` or `system`.',
      example: 'operator:0198c5a0-00cc-7f42-ae33-2a4b6c8d0e2f',
    }),
    action: z.string().max(100).openapi({ example: 'run.pause' }),
    target: z.string().max(300).openapi({ example: 'run:0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }),
    details: z.record(z.string().max(100), z.unknown()).openapi({ example: {} }),
    createdAt: instant,
    previousHash: hash(
      'The `hash` of the entry before; 64 zeros at the first.',
      '0f8a77aa6df4f46ba3dd2bd5bb34e2a0b8d4d1d2f4a7a3a5a2c7a1c9a7d44e5f',
    ),
    hash: hash(
      'SHA-256 over `previousHash` and the entry without its two hashes as canonical JSON (RFC 8785).',
      '5a6f4a0e8a0b1a7cb0b6bd0dcd6a8fbd4b4f1f3ac8d2a74be1a9b0dc7f55d6a1',
    ),
  })
  .openapi('AuditEntry');

const listAuditOperation = defineOperation({
  method: 'get',
  path: '/v1/audit',
  operationId: 'listAudit',
  tag: 'Events',
  summary: 'Read the audit log',
  description: 'Who did what. Entries form a chain of hashes: one that was changed or removed breaks it.',
  policy: 'viewer',
  request: { query: orderedPageQuery },
  responses: { 200: json(pageOf(AuditEntry, 'AuditPage'), 'A page of entries.') },
});

type Row = Awaited<ReturnType<typeof readAudit>>[number];

function toEntry(row: Row): z.infer<typeof AuditEntry> {
  const { federationId, actor, action, target, details, createdAt } = row;
  return {
    position: row.position!,
    federation: federationId,
    actor,
    action,
    target,
    details,
    createdAt: createdAt.toISOString(),
    previousHash: row.previousHash!,
    hash: row.hash!,
  };
}

export function auditRoutes(deps: Deps) {
  const api = createRouter();

  api.openapi(listAuditOperation, async (c) => {
    const query = c.req.valid('query');
    const rows = await readAudit(deps, c.get('principal'), readPage(query, 'position'));
    return c.json(toPage(rows, query.limit, { item: toEntry, cursor: (row) => row.position! }), 200);
  });

  return api;
}
