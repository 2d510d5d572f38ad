import type { Deps } from '../api/deps.ts';
import { createApp } from '../api/http/app.ts';

/** The app with all of its routes, to look at their declarations. Nothing of what a handler needs is there. */
export function createDocumentApp(): ReturnType<typeof createApp> {
  const nowhere: unknown = new Proxy(() => {}, {
    get: (_target, name) => (name === Symbol.toPrimitive ? () => '' : name === 'then' ? undefined : nowhere),
    apply: () => nowhere,
  });
  return createApp(nowhere as Deps);
}
