/**
 * Starts a run and waits until it is over, for whoever orchestrates: a Kubeflow pipeline's step, a training job. It is
 * handed to Node as text, so it stands alone.
 *
 *   node --input-type=module -e TEXT -- --url URL --key-file FILE --run JSON [--once KEY] [--run-id-to FILE] [--version-to FILE]
 *
 * `--run` is the body of POST /v1/runs. Repeats with the same `--once` follow the same run. Exit 0 when it has published
 * all its versions; 1 when it ended otherwise.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const POLL_MS = 2000;
/** For so long the API may not answer: it may be rolled, or start from zero. */
const PATIENCE_MS = 300_000;

const text = { type: 'string' };
const { values: options } = parseArgs({
  options: { url: text, 'key-file': text, run: text, once: text, 'run-id-to': text, 'version-to': text },
});
const key = (await readFile(options['key-file'], 'utf8')).trim();

/** A JSON answer. Busy and unreachable servers are asked again; a refusal ends it, in the server's words. */
async function ask(method, path, { headers, body } = {}) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const response = await fetch(new URL(path, options.url), {
      method,
      // In lower case a mesh does not take the key for a token.
      headers: { authorization: `bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body }),
    }).catch((error) => ({ ok: false, status: 0, text: async () => String(error.cause ?? error) }));
    if (response.ok) return response.json();
    const reason = await response.text();
    const mayPass = response.status === 0 || response.status === 429 || response.status >= 500;
    if (!mayPass || Date.now() > until) throw new Error(`${method} ${path}: ${response.status} ${reason}`);
    await sleep(POLL_MS);
  }
}

async function save(path, value) {
  if (!path) return;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, String(value));
}

const headers = options.once ? { 'idempotency-key': options.once } : {};
let run = await ask('POST', '/v1/runs', { headers, body: options.run });
console.log(`run ${run.id} trains ${run.model}`);
let completed = 0;
while (run.state === 'active' || run.state === 'paused') {
  await sleep(POLL_MS);
  run = await ask('GET', `/v1/runs/${run.id}`);
  if (run.completedRounds !== completed) console.log(`${run.completedRounds} of ${run.rounds} rounds`);
  completed = run.completedRounds;
}
const { head } = await ask('GET', `/v1/models/${run.model}`);
console.log(`run ${run.id} ${run.state} (${run.reason}); ${run.model} is at version ${head}`);
await save(options['run-id-to'], run.id);
await save(options['version-to'], head);
process.exitCode = run.state === 'completed' ? 0 : 1;
