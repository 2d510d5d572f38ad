import { createHash } from 'node:crypto';
import { readRun } from '../../api/http/schemas/runs.ts';
import { systemPrincipal } from '../../api/services/identity/actors.ts';
import { parseCatalog } from '../../api/services/releases/catalog/catalog.ts';
import { reconcileCatalog } from '../../api/services/releases/reconcile.ts';
import { listReleases } from '../../api/services/releases/releases.ts';
import { type EnrolledDevice, jsonRequest, type TestApp } from './app.ts';
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
        text: typeof document === 'string' ? document : `${JSON.stringify(document)}\n`,
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

/** The canary first, everybody at the second step. */
export const canaryCohorts = [
  { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
  { name: 'everyone', percent: [0, 100] },
];
export const accuracyGate = { metric: 'accuracy', atLeast: 0.9, reports: 1 };

export type ReleaseScene = Awaited<ReturnType<typeof createReleaseScene>>;

/** A catalog with a device of the canary and one that is not. */
export async function createReleaseScene(test: TestApp) {
  const catalog = createTestCatalog(test);
  const canary = await test.enrolDevice({ token: { labels: { site: 'lab' } } });
  const other = await test.enrolDevice();
  return {
    ...catalog,
    canary,
    other,
    states: async (model: string) => (await catalog.releases(model)).map(({ state }) => state),
    /** What the canary and the other get. */
    currents: (model: string) => Promise.all([canary, other].map((one) => catalog.current(one, model))),
    report: (device: EnrolledDevice, model: string, version: number, accuracy: number) =>
      test.app.request(
        `/v1/models/${model}/versions/${version}/reports`,
        jsonRequest('POST', { numExamples: 10, metrics: { accuracy } }, device.headers),
      ),
    /** A model whose version 1 everybody gets, and a document that offers version 2 to the canary first. */
    async offer(model: string, document: object = {}) {
      const digests = await createVersions(test, model, 2);
      const file = `models/${model}.yaml`;
      const first = { model, version: 1, digest: digests[1]! };
      const rest = { previous: 1, cohorts: canaryCohorts, gate: accuracyGate };
      const second = { model, version: 2, digest: digests[2]!, ...rest, ...document };
      catalog.set(file, first);
      await catalog.reconcile();
      return { file, first, second, digests };
    },
  };
}
