import { z } from '@hono/zod-openapi';
import { receipt } from './assignments.ts';

const count = (description: string) =>
  z
    .string()
    .regex(/^\d{1,15}$/)
    .openapi({ description, example: '1048576' });
const digest = (description: string) =>
  z
    .string()
    .max(1024)
    .optional()
    .openapi({ description, example: 'sha-256=:PwozjekpJGDsthb2UHzg2M+j5wQCXU/aPtDFygVGhyg=:' });
const complete = z.enum(['?0', '?1']).openapi({ description: '`?1`: this body is the last one.' });

export const uploadParams = z.object({
  upload: z
    .uuid()
    .openapi({ param: { name: 'upload', in: 'path' }, example: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }),
});

export const beginHeaders = z.object({
  'Upload-Complete': complete,
  'Upload-Length': count('Bytes of the whole. May be left out with `Upload-Complete: ?1`.').optional(),
  'Repr-Digest': digest('The SHA-256 of the whole (RFC 9530). Required unless Content-Digest is that.'),
  'Content-Digest': digest('The SHA-256 of this body; of the whole with `Upload-Complete: ?1`.'),
});

export const appendHeaders = z.object({
  'Upload-Complete': complete,
  'Upload-Offset': count('Where this body begins: the offset that the upload has.'),
  'Upload-Length': count('Bytes of the whole, as at the beginning.').optional(),
  'Content-Digest': digest('The SHA-256 of this body: it is appended only if it matches.'),
});

/** What every answer about an upload says in its header. */
export const uploadStateHeaders = z.object({
  'Upload-Offset': count('Bytes that are durable.'),
  'Upload-Complete': complete,
  'Upload-Length': count('Bytes of the whole.'),
  'Upload-Limit': z.string().openapi({ example: 'max-size=2000000000, max-age=86400' }),
});

const upload = z
  .object({
    id: z.uuid(),
    url: z.string().openapi({
      description: 'Below the URL of the API; also in Location.',
      example: '/v1/uploads/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44',
    }),
    offset: z.int().min(0),
    bytes: z.int().min(0),
    expiresAt: z.iso.datetime(),
  })
  .openapi('Upload');

export const receiptOrUpload = z.union([receipt, upload]);

/** A raw part. */
export const partBody = {
  required: false,
  content: { 'application/partial-upload': { schema: z.string().openapi({ format: 'binary' }) } },
};
