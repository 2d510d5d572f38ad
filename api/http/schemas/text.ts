import { z } from '@hono/zod-openapi';

const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u;

/**
 * Free text in one line. Without control characters, so that nobody forges log lines, and without half surrogates:
 * PostgreSQL stores neither those nor NUL.
 */
export function line(maxLength: number) {
  return z
    .string()
    .max(maxLength)
    .refine((text) => !UNPRINTABLE.test(text), { message: 'no control characters or half surrogates' });
}

/** A line that names something: not empty, without spaces around it. */
export function trimmedLine(maxLength: number) {
  return line(maxLength).trim().min(1);
}
