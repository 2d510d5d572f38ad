import type { TestApp } from './app.ts';
import { jsonRequest } from './app.ts';
import { rawRequest, sha256, tensorFile } from './tensor-files.ts';

/** Eight parameters in two tensors. */
export const smallManifest = {
  tensors: [
    { name: 'w', shape: [3, 2] },
    { name: 'b', shape: [2] },
  ],
};

export function smallWeights(fill = 1): Buffer {
  return tensorFile([
    { name: 'w', shape: [3, 2], values: Array(6).fill(fill) },
    { name: 'b', shape: [2], values: [fill, fill] },
  ]);
}

export interface Problem {
  status: number;
  code: string;
  reason?: string;
}

/** The status and the members of a problem document that tests look at. */
export async function problemOf(response: Response): Promise<Problem> {
  const { code, reason } = (await response.json()) as { code: string; reason?: string };
  return { status: response.status, code, ...(reason === undefined ? {} : { reason }) };
}

/** Creates a model through the API and, with weights, its versions. */
export async function createTestModel(
  test: TestApp,
  headers: { authorization: string },
  name: string,
  versions: readonly Buffer[] = [],
): Promise<void> {
  const created = await test.app.request(
    '/v1/models',
    jsonRequest('POST', { name, manifest: smallManifest }, headers),
  );
  if (created.status !== 201) throw new Error(await created.text());
  for (const file of versions) {
    const answer = await test.app.request(`/v1/models/${name}/versions`, rawRequest('POST', file, headers));
    if (answer.status !== 201) throw new Error(`${sha256(file)}: ${await answer.text()}`);
  }
}
