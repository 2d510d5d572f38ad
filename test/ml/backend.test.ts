import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const backendUrl = new URL('../../api/ml/backend.ts', import.meta.url);

/** Runs code in a process of its own with the backend module as `loadBackend`; gives what it prints. */
async function run(code: string, environment: Record<string, string> = {}) {
  const script = `import { loadBackend } from '${backendUrl.href}';\n${code}`;
  const options = { env: { ...process.env, ...environment } };
  const args = ['--input-type=module', '--eval', script];
  return promisify(execFile)(process.execPath, args, options);
}

const nowhere = { FEDEDGE_NATIVE_DIR: '/nowhere' };

test.each(['wasm', 'cpu'])('%s loads, computes, and prints nothing of its own', async (name) => {
  const { stdout, stderr } = await run(`
    import * as tf from '${import.meta.resolve('@tensorflow/tfjs-core')}';
    const { name } = await loadBackend('${name}');
    const [sum] = await tf.sum(tf.tensor([1, 2, 3])).data();
    console.log(name, sum, tf.getBackend());`);
  expect(stdout).toBe(`${name} 6 ${name}\n`);
  expect(stderr).toBe('');
});

test('without a preference the fastest that loads is taken', async () => {
  const { stdout } = await run('console.log((await loadBackend()).name);', nowhere);
  expect(stdout).toBe('wasm\n');
});

test('a preferred backend that does not load is an error that says why', async () => {
  const code = "await loadBackend('native').catch((error) => console.log(error.message));";
  expect((await run(code, nowhere)).stdout).toMatch('not built (npm run native)');
});

test("the process's own handling of errors stays as it was", async () => {
  const { stdout } = await run(`
    await loadBackend('wasm');
    console.log(process.listenerCount('uncaughtException'), process.listenerCount('unhandledRejection'));`);
  expect(stdout).toBe('0 0\n');
});

test('a backend that is activated again computes again', async () => {
  const { stdout } = await run(`
    import * as tf from '${import.meta.resolve('@tensorflow/tfjs-core')}';
    const wasm = await loadBackend('wasm');
    await loadBackend('cpu');
    console.log(tf.getBackend());
    wasm.activate();
    console.log(tf.getBackend());`);
  expect(stdout).toBe('cpu\nwasm\n');
});
