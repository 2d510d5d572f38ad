import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const folder = join(import.meta.dirname, 'health');

/**
 * The health checks of infra/argocd/health, by `GROUP_KIND`: Lua 5.1 with the base and table libraries and no other,
 * given the object as `obj`. Without one, an object of a kind that Argo CD does not know is healthy by being there.
 */
export async function readHealthChecks(): Promise<Map<string, string>> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.lua')).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
  return new Map(files.map((file, index) => [file.slice(0, -'.lua'.length), texts[index]!]));
}

/** Argo CD's own ConfigMap, with these keys alone: applied on the server's side, it leaves the others as they are. */
export function healthConfiguration(checks: ReadonlyMap<string, string>, namespace: string): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: 'argocd-cm',
      namespace,
      labels: { 'app.kubernetes.io/name': 'argocd-cm', 'app.kubernetes.io/part-of': 'argocd' },
    },
    data: Object.fromEntries(
      // The key of the core group would begin with the kind; none of ours does.
      [...checks].map(([kind, text]) => [`resource.customizations.health.${kind}`, text]),
    ),
  };
}
