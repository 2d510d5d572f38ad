import assert from 'node:assert/strict';
import { NAMESPACE, type Pod } from '../kubectl.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';
import { component } from './sync.ts';

const NAME = 'cold-start';
const STARTS = 7;
const GOAL_MS = 500;

/** Runs in the image: starts the server anew and asks it until it answers an operator, who needs the database. */
const measure = `
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const [command, ...args] = process.argv.slice(1);
const headers = { authorization: 'Bearer ' + process.env.FEDEDGE_OPERATOR_KEY };
const ask = () => new Promise((resolve) => {
  http.get({ host: '127.0.0.1', port: process.env.FEDEDGE_PORT, path: '/v1/models', headers, agent: false }, (answer) => {
    answer.resume().once('end', () => resolve(answer.statusCode === 200));
  }).once('error', () => resolve(false));
});
(async () => {
  for (let i = 0; i < ${STARTS}; i += 1) {
    const began = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    while (!(await ask())) await new Promise((resolve) => setTimeout(resolve, 2));
    console.log('answered after ' + Math.round(performance.now() - began) + ' ms');
    child.kill();
    await once(child, 'exit');
  }
})();
`;

/** Scaled to zero, an API has to come back while a device waits: from the start of its process to its first answer. */
export const coldStart: Step<Scene> = {
  name: 'a cold start of the API image to its first answered request',
  async run({ cluster: { kubectl }, engine, images, signal }) {
    const entry = await engine.docker([
      'image',
      'inspect',
      '-f',
      '{{json .Config.Entrypoint}}',
      `${images.name}:${images.second}`,
    ]);
    const [api] = await kubectl.pods(component('api'));
    assert.ok(api, 'there is an API pod to take the form from');
    await kubectl.apply(podFrom(api, [...(JSON.parse(entry) as string[]), 'server']));
    const times = await waitFor(
      'the measurement is over',
      async () => {
        const log = await kubectl(['logs', '-n', NAMESPACE, NAME]);
        const found = [...log.matchAll(/answered after (\d+) ms/g)].map(([, ms]) => Number(ms));
        return found.length === STARTS && found;
      },
      { signal, seconds: 90 },
    );
    await kubectl(['delete', 'pod', NAME, '-n', NAMESPACE, '--wait=false']);
    const [first] = times;
    const median = times.toSorted((a, b) => a - b)[Math.floor(STARTS / 2)]!;
    return `first ${first} ms, median ${median} ms of ${STARTS} starts (goal ${GOAL_MS} ms)`;
  },
};

/** The API's pod as it is, but for what starts in it; no Service leads there. */
function podFrom({ spec }: Pod, command: readonly string[]): object {
  const [container] = spec.containers as (Pod['spec']['containers'][number] & Record<string, unknown>)[];
  const { args, ports, livenessProbe, readinessProbe, startupProbe, lifecycle, ...kept } = container!;
  const { nodeName, ...rest } = spec;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: NAME, namespace: NAMESPACE, labels: { 'app.kubernetes.io/component': NAME } },
    spec: {
      ...rest,
      restartPolicy: 'Never',
      containers: [{ ...kept, command: ['node', '-e', measure, ...command] }],
    },
  };
}
