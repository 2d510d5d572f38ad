import { createHash } from 'node:crypto';
import { readRun } from '../../api/http/schemas/runs.ts';
import { systemPrincipal } from '../../api/services/identity/actors.ts';
import { parseCatalog } from '../../api/services/releases/catalog/catalog.ts';
import { reconcileCatalog } from '../../api/services/releases/reconcile.ts';
import { listReleases } from '../../api/services/releases/releases.ts';
import type { EnrolledDevice, TestApp } from './app.ts';
import { createTestModel, smallWeights } from './models.ts';

/** A catalog in memory, and what a test asks of releases. */
export function createTestCatalog(test: TestApp) {
  const documents = new Map<string, object | string>();
  return {
    /** Text is taken as it is; undefined takes the file away. */
    set(file: string, document: object | string | undefined): void {
      if (document === undefined) documents.delete(file);
      else documents.set(file, document);
    },
    reconcile(): Promise<boolean> {
      // Ids are in the order of their making from one millisecond to the next.
      test.clock.advance(1);
      const texts = [...documents].map(([file, document]) => ({
        file,
        text: typeof document === 'string' ? document : JSON.stringify(document),
      }));
      return reconcileCatalog(test.deps, systemPrincipal, parseCatalog(texts, readRun));
    },
    /** The releases of a model, oldest first. */
    releases: (model: string) => listReleases(test.deps, systemPrincipal, { model, page: { limit: 50 } }),
    /** The version that a device is to use, or the code of the refusal. */
    async current(device: Pick<EnrolledDevice, 'headers'>, model: string): Promise<number | string> {
      const answer = await test.app.request(`/v1/models/${model}/current`, { headers: device.headers });
      const { version, code } = (await answer.json()) as { version?: number; code?: string };
      return version ?? code!;
    },
  };
}

/** A model whose version k has weights of k. Resolves with the digests as release files name them, from index 1 on. */
export async function createVersions(test: TestApp, name: string, count: number): Promise<string[]> {
  const files = Array.from({ length: count }, (_, index) => smallWeights(index + 1));
  await createTestModel(test, await test.operator(), name, files);
  return ['', ...files.map((file) => `sha-256:${createHash('sha256').update(file).digest('hex')}`)];
}
