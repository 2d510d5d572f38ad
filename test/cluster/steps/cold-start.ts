import assert from 'node:assert/strict';
import { loadavg } from 'node:os';
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
const { readFileSync } = require('node:fs');
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
    const wall = Math.round(performance.now() - began);
    const ticks = readFileSync('/proc/' + child.pid + '/stat', 'utf8').split(') ')[1].split(' ');
    console.log('answered after ' + wall + ' ms, ' + (Number(ticks[11]) + Number(ticks[12])) * 10 + ' ms of CPU');
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
        const found = [...log.matchAll(/answered after (\d+) ms, (\d+) ms of CPU/g)];
        return (
          found.length === STARTS && found.map(([, wall, cpu]) => ({ wall: Number(wall), cpu: Number(cpu) }))
        );
      },
      { signal, seconds: 90 },
    );
    await kubectl(['delete', 'pod', NAME, '-n', NAMESPACE, '--wait=false']);
    const [wall, cpu] = (['wall', 'cpu'] as const).map((what) => median(times.map((one) => one[what])));
    const load = loadavg()[0]!.toFixed(1);
    return `first ${times[0]!.wall} ms, median ${wall} ms of ${STARTS} starts, ${cpu} ms of CPU (goal ${GOAL_MS} ms; the machine's load is ${load})`;
  },
};

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

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
