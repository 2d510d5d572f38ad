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
    const began = performance.now();
    await buildImage(scene.engine, scene.repository.folder, { target: 'fededge', tag: `${NAME}:cluster-1` });
    const built = Math.round((performance.now() - began) / 1000);
    await docker(['tag', `${NAME}:cluster-1`, `${NAME}:cluster-2`]);
    await loadImages(
      scene.engine,
      cluster,
      [`${NAME}:cluster-1`, `${NAME}:cluster-2`],
      join(state, 'image.tar'),
    );
    const bytes = Number(await docker(['image', 'inspect', '-f', '{{.Size}}', `${NAME}:cluster-1`]));
    return `built in ${built} s, ${Math.round(bytes / 1e6)} MB with its base`;
  },
};
