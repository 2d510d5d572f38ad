import type { Context } from 'hono';
import { FedEdgeError } from '../domain/errors.ts';
import type { AppEnv } from './context.ts';
import type { Document } from './contract/document.ts';
import { renderProblem } from './contract/problems.ts';

/** Answers what no route took: 405 with `Allow` where the path takes other methods, else 404. */
export function renderUnknown(c: Context<AppEnv>, document: Document): Response {
  const methods = Object.entries(document.paths)
    .filter(([template]) => matches(template, c.req.path))
    .flatMap(([, item]) => Object.keys(item).map((method) => method.toUpperCase()));
  if (methods.length === 0) return renderProblem(new FedEdgeError('not_found'), c);
  const allowed = new Set(methods.includes('GET') ? [...methods, 'HEAD'] : methods);
  c.header('allow', [...allowed].sort().join(', '));
  return renderProblem(new FedEdgeError('method_not_allowed'), c);
}

function matches(template: string, path: string): boolean {
  const parts = template.split('/');
  const given = path.split('/');
  return (
    parts.length === given.length &&
    parts.every((part, index) => (part.startsWith('{') ? given[index] !== '' : part === given[index]))
  );
}
