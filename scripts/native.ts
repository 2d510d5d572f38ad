/**
 * npm run native: builds tfjs-node's addon, the fastest backend of a device that trains, from the source in
 * its npm package and from the libraries in TensorFlow's Python wheel. Optional: without it devices train on
 * WebAssembly.
 *
 * Usage: native [--dir FOLDER]   (default: FEDEDGE_NATIVE_DIR, else
 * ~/.cache/fededge/tfjs-node-<version>-napi8)
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { addonFile, NAPI_VERSION, nativeFolder, TFJS_NODE_VERSION } from '../api/ml/backend-native.ts';

const WHEEL = 'tensorflow-cpu==2.15.1';
const HEADERS = 'node-api-headers@1.9.0';
const PROTOBUF = 'google-protobuf@3.21.4';
const MEGABYTE = 1_000_000;
const DOWNLOAD_MB = 210;
const NEEDED_MB = 1_100;
const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/** Unpacks what the addon is compiled and linked with: the C headers and two libraries. */
const UNPACK = `
import sys, zipfile, os
wheel, to = sys.argv[1], sys.argv[2]
roots = ['tensorflow/c/', 'tensorflow/core/platform/', 'tensorflow/tsl/', 'tsl/', 'xla/tsl/']
with zipfile.ZipFile(wheel) as z:
    for entry in z.namelist():
        name = entry.removeprefix('tensorflow/include/')
        if entry.startswith('tensorflow/include/') and name.startswith(tuple(roots)) and not entry.endswith('/'):
            path = os.path.join(to, 'include', name)
        elif entry in ('tensorflow/${LIBRARIES[0]}', 'tensorflow/${LIBRARIES[1]}'):
            path = os.path.join(to, 'lib', os.path.basename(entry))
        else:
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with z.open(entry) as source, open(path, 'wb') as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
`;

class NativeError extends Error {}

function main(): Promise<void> {
  const { values } = parseArgs({ options: { dir: { type: 'string' } } });
  const folder = resolve(values.dir ?? nativeFolder());
  if (existsSync(addonFile(folder))) {
    console.log(`native backend: ready in ${folder}`);
    return Promise.resolve();
  }
  const tools = checkTools(folder);
  console.log(`native backend: building in ${folder}`);
  console.log(
    `  downloads about ${DOWNLOAD_MB} MB (a wheel and three small npm packages), keeps about 450 MB`,
  );
  const downloads = join(folder, 'downloads');
  mkdirSync(downloads, { recursive: true });
  fetchPackages(folder, downloads);
  fetchLibraries(folder, downloads, tools.python);
  lendPackages(folder);
  const built = compile(folder, tools.compiler);
  rmSync(downloads, { recursive: true, force: true });
  return finish(folder, built);
}

function checkTools(folder: string): { python: string; compiler: string } {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new NativeError(`builds on Linux x64 only (this is ${process.platform} ${process.arch})`);
  }
  const python = ['python3', 'python'].find((name) => works(name, ['-m', 'pip', '--version']));
  if (!python) throw new NativeError('needs Python 3 with pip: python3 -m pip does not run');
  const compiler = [process.env.CXX, 'c++', 'g++', 'clang++'].find(
    (name) => name && works(name, ['--version']),
  );
  if (!compiler) throw new NativeError('needs a C++17 compiler: none of $CXX, c++, g++, clang++ runs');
  if (!works('tar', ['--version'])) throw new NativeError('needs tar');
  mkdirSync(folder, { recursive: true });
  const { bavail, bsize } = statfsSync(folder);
  const freeMb = Math.floor((bavail * bsize) / MEGABYTE);
  if (freeMb < NEEDED_MB) throw new NativeError(`needs ${NEEDED_MB} MB in ${folder}, ${freeMb} MB are free`);
  return { python, compiler };
}

function fetchPackages(folder: string, downloads: string): void {
  for (const [spec, target] of [
    [`@tensorflow/tfjs-node@${TFJS_NODE_VERSION}`, join(folder, 'package')],
    [HEADERS, join(folder, 'napi')],
    [PROTOBUF, join(folder, 'node_modules', 'google-protobuf')],
  ] as const) {
    const before = new Set(readdirSync(downloads));
    run(
      'npm',
      ['pack', '--loglevel', 'error', '--pack-destination', downloads, spec],
      `cannot fetch ${spec} from npm`,
    );
    const archive = readdirSync(downloads).find((name) => !before.has(name) && name.endsWith('.tgz'));
    if (!archive) throw new NativeError(`npm pack wrote no archive of ${spec}`);
    report(spec, join(downloads, archive));
    mkdirSync(target, { recursive: true });
    run(
      'tar',
      ['-xzf', join(downloads, archive), '-C', target, '--strip-components=1'],
      `cannot unpack ${archive}`,
    );
    rmSync(join(downloads, archive));
  }
}

function fetchLibraries(folder: string, downloads: string, python: string): void {
  console.log(`  ${WHEEL}: downloading`);
  const wheelOnly = [
    '--no-deps',
    '--only-binary=:all:',
    '--implementation',
    'cp',
    '--python-version',
    '3.11',
  ];
  const quiet = ['--quiet', '--disable-pip-version-check', '--dest', downloads];
  run(python, ['-m', 'pip', 'download', ...wheelOnly, ...quiet, WHEEL], `cannot fetch ${WHEEL} with pip`);
  const wheel = readdirSync(downloads).find((name) => name.endsWith('.whl'));
  if (!wheel) throw new NativeError(`pip wrote no wheel of ${WHEEL}`);
  report(WHEEL, join(downloads, wheel));
  const deps = join(folder, 'package', 'deps');
  run(python, ['-c', UNPACK, join(downloads, wheel), deps], `cannot unpack ${wheel}`);
  rmSync(join(downloads, wheel));
  const lib = join(deps, 'lib');
  if (works('strip', ['--version'])) {
    for (const name of LIBRARIES) run('strip', ['--strip-unneeded', join(lib, name)], `cannot strip ${name}`);
  }
  for (const [link, target] of [
    ['libtensorflow.so.2', LIBRARIES[0]],
    ['libtensorflow.so', LIBRARIES[0]],
    ['libtensorflow_framework.so', LIBRARIES[1]],
  ] as const) {
    rmSync(join(lib, link), { force: true });
    symlinkSync(target!, join(lib, link));
  }
  for (const name of LIBRARIES) report(name, join(lib, name));
}

/**
 * The packages that the addon's JavaScript asks for, as names alone: the backend lends it the core in use.
 */
function lendPackages(folder: string): void {
  for (const name of ['tfjs', 'tfjs-core']) {
    const path = join(folder, 'node_modules', '@tensorflow', name, 'index.js');
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "throw new Error('load this addon through FedEdge (api/ml/backend-native.ts)');\n");
  }
}

/** Compiles beside the addon's place; returns the file, which takes that place when it has been proved. */
function compile(folder: string, compiler: string): string {
  console.log('  compiling the addon (half a minute)');
  const source = join(folder, 'package');
  const addon = addonFile(folder);
  const built = join(dirname(addon), 'built.node');
  mkdirSync(dirname(addon), { recursive: true });
  const flags = ['-shared', '-fPIC', '-O2', '-std=c++17', `-DNAPI_VERSION=${NAPI_VERSION}`];
  const names = ['-DNODE_GYP_MODULE_NAME=tfjs_binding', '-DBUILDING_NODE_EXTENSION'];
  const headers = [source, join(source, 'deps', 'include'), join(folder, 'napi', 'include')];
  const files = ['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(source, 'binding', name));
  const libraries = ['-L', join(source, 'deps', 'lib'), '-ltensorflow', '-ltensorflow_framework'];
  const search = '-Wl,-rpath,$ORIGIN/../../deps/lib';
  const includes = headers.map((path) => `-I${path}`);
  const args = [...flags, ...names, ...includes, ...files, ...libraries, search, '-o', built];
  run(compiler, args, 'the addon does not compile');
  return built;
}

/** Puts the addon in its place and computes with it once; an addon that fails is taken away again. */
async function finish(folder: string, built: string): Promise<void> {
  const addon = addonFile(folder);
  renameSync(built, addon);
  process.env.FEDEDGE_NATIVE_DIR = folder;
  try {
    const { loadBackend } = await import('../api/ml/backend.ts');
    const tf = await import('@tensorflow/tfjs-core');
    await loadBackend('native');
    const [value] = await tf.matMul(tf.ones([1, 3]), tf.ones([3, 1])).data();
    if (value !== 3) throw new Error(`1 + 1 + 1 gave ${value}`);
  } catch (error) {
    rmSync(addon);
    throw new NativeError(`the addon was built but does not compute: ${(error as Error).message}`);
  }
  console.log(`native backend: built and tried in ${folder}`);
}

function works(command: string, args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function run(command: string, args: string[], failure: string): void {
  const { status, stderr, error } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  if (status === 0) return;
  const detail = error?.message ?? stderr.toString().trim().split('\n').slice(-6).join('\n    ');
  throw new NativeError(`${failure} (is the network reachable?):\n    ${detail}`);
}

function report(what: string, path: string): void {
  console.log(`  ${what}: ${(statSync(path).size / MEGABYTE).toFixed(1)} MB`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof NativeError)) throw error;
  console.error(`native backend: ${error.message}\nDevices train without it, on WebAssembly.`);
  process.exitCode = 1;
}
