import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';

const tag = 'System';
const CACHE = 'public, max-age=300';
const text = z.string().max(2048);

const jwksOperation = defineOperation({
  method: 'get',
  path: '/.well-known/jwks.json',
  operationId: 'getTokenKeys',
  tag,
  summary: 'The public keys of access tokens',
  policy: 'public',
  responses: {
    200: json(
      z.object({ keys: z.array(z.record(z.string().max(32), z.unknown())).max(16) }).openapi('TokenKeySet', {
        example: {
          keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: '2026-01', alg: 'ES256', use: 'sig' }],
        },
      }),
      'A JWK set (RFC 7517).',
    ),
  },
});

const metadataOperation = defineOperation({
  method: 'get',
  path: '/.well-known/oauth-authorization-server',
  operationId: 'getAuthorizationServerMetadata',
  tag,
  summary: 'What OAuth libraries need to know',
  policy: 'public',
  responses: {
    200: json(
      z
        .object({
          issuer: text.openapi({ example: 'https://fededge.example' }),
          token_endpoint: text.openapi({ example: 'https://fededge.example/v1/token' }),
          jwks_uri: text.openapi({ example: 'https://fededge.example/.well-known/jwks.json' }),
          service_documentation: text.openapi({ example: 'https://fededge.example/docs' }),
          response_types_supported: z.array(text).max(8),
          grant_types_supported: z.array(text).max(8),
          token_endpoint_auth_methods_supported: z.array(text).max(8),
          token_endpoint_auth_signing_alg_values_supported: z.array(text).max(8),
        })
        .openapi('AuthorizationServerMetadata'),
      'Metadata (RFC 8414).',
    ),
  },
});

export function wellKnownRoutes({ keys, publicUrl }: Deps) {
  const router = createRouter();
  const metadata = {
    issuer: publicUrl,
    token_endpoint: `${publicUrl}/v1/token`,
    jwks_uri: `${publicUrl}/.well-known/jwks.json`,
    service_documentation: `${publicUrl}/docs`,
    response_types_supported: [],
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: ['private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'Ed25519'],
  };
  router.openapi(jwksOperation, (c) => c.json(keys.jwks, 200, { 'cache-control': CACHE }));
  router.openapi(metadataOperation, (c) => c.json(metadata, 200, { 'cache-control': CACHE }));
  return router;
}
