import { join } from 'node:path';
import { gitUrl } from '../applications.ts';
import { buildImage, loadImages, openEngine } from '../images.ts';
import { root } from '../places.ts';
import { createRepository } from '../repositories.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';

const NAME = 'docker.io/library/fededge';

/** Of what is committed: the repository that Argo CD gets is the one that the image comes from. */
export const buildAndLoad: Step<Scene> = {
  name: 'the image is built and loaded',
  essential: true,
  async run(scene) {
    const { state, cluster, signal, atEnd } = scene;
    scene.repository = await createRepository({
      source: root,
      repos: join(state, 'repos'),
      folder: join(state, 'clone'),
      url: gitUrl('fededge'),
      signal,
    });
    scene.engine = await openEngine(signal);
    atEnd(scene.engine.stop);
    scene.images = { name: NAME, first: 'cluster-1', second: 'cluster-2' };
    const { docker } = scene.engine;
    const built = await makeImage(scene, `${NAME}:cluster-1`);
    await docker(['tag', `${NAME}:cluster-1`, `${NAME}:cluster-2`]);
    await loadImages(
      scene.engine,
      cluster,
      [`${NAME}:cluster-1`, `${NAME}:cluster-2`],
      join(state, 'image.tar'),
    );
    const bytes = Number(await docker(['image', 'inspect', '-f', '{{.Size}}', `${NAME}:cluster-1`]));
    return `${built}; ${Math.round(bytes / 1e6)} MB with its base`;
  },
};

/** FEDEDGE_TEST_IMAGE names one that the engine has already. */
async function makeImage({ engine, repository }: Scene, tag: string): Promise<string> {
  const given = process.env.FEDEDGE_TEST_IMAGE;
  if (given) {
    await engine.docker(['tag', given, tag]);
    return given;
  }
  const began = performance.now();
  await buildImage(engine, repository.folder, { target: 'fededge', tag });
  return `built in ${Math.round((performance.now() - began) / 1000)} s`;
}
