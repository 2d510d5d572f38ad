import { readFileSync } from 'node:fs';
import { Hono } from 'hono';
import type { AppEnv } from '../context.ts';
import type { Document } from '../contract/document.ts';
import { renderOperations } from '../docs/operations.ts';
import { renderProblems } from '../docs/problems.ts';

/** Nothing runs and nothing comes from elsewhere: text and one style sheet. */
const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const style = readFileSync(new URL('../docs/style.css', import.meta.url), 'utf8');

/** The reference for people: pages that are made of the document, without a script. Public, and not part of it. */
export function docsRoutes(readDocument: () => Document): Hono<AppEnv> {
  const docs = new Hono<AppEnv>();
  let operations: string | undefined;
  let problems: string | undefined;

  docs.use('/docs/*', async (c, next) => {
    await next();
    c.header('content-security-policy', POLICY);
    c.header('cache-control', 'no-cache');
  });
  docs.get('/docs', (c) => {
    operations ??= renderOperations(readDocument());
    return c.html(operations);
  });
  docs.get('/docs/problems', (c) => {
    problems ??= renderProblems();
    return c.html(problems);
  });
  docs.get('/docs/style.css', (c) => c.body(style, 200, { 'content-type': 'text/css; charset=utf-8' }));
  return docs;
}
