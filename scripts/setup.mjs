/**
 * Makes a clone ready to run: installs what package-lock.json names, and puts Node 24 where `npm run` finds it first.
 * Says nothing and touches nothing when that is so already. Plain JavaScript, since it runs on the Node that the
 * machine has (20 or later); whatever comes after it in an npm script runs on ours.
 *
 *   node scripts/setup.mjs [--production]     --production: without what only development needs
 *
 * No package's install script is run. Everything goes to standard error, so that a command's own output stays clean.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { applyPatches, isPatched } from './patches.mjs';

const LEAST_OWN_NODE = 20;
const LEAST_NODE = [24, 14, 1];
const HEARTBEAT_MS = 2_000;
/** A lock that was not touched for so long belongs to nobody: on another machine, and on this one. */
const STALE_ELSEWHERE_MS = 20_000;
const STALE_HERE_MS = 900_000;

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
const lockFile = join(root, '.setup-lock');
const linkedNode = join(modules, '.bin', 'node');
const production = process.argv.includes('--production');

class SetupError extends Error {}

function say(text) {
  process.stderr.write(`fededge: ${text}\n`);
}

async function setUp() {
  if (Number(process.versions.node.split('.')[0]) < LEAST_OWN_NODE) {
    throw new SetupError(`needs Node ${LEAST_OWN_NODE} or newer; this is ${process.version}`);
  }
  if (isReady()) return;
  const release = await acquireLock();
  try {
    if (isReady()) return;
    if (listMissing().length > 0) await install();
    if (!runsOurNode()) linkNode();
    applyPatches(modules);
  } finally {
    release();
  }
}

function isReady() {
  return listMissing().length === 0 && runsOurNode() && isPatched(modules);
}

/**
 * The packages of package-lock.json that are not installed in that version. npm writes what it has installed when it
 * is through, so an installation that was cut short counts as none.
 */
function listMissing() {
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (!wanted)
    throw new SetupError(
      'package-lock.json is missing or damaged: restore it (git checkout package-lock.json)',
    );
  const installed = readPackages(join(modules, '.package-lock.json')) ?? {};
  return Object.keys(wanted).filter((path) => {
    const { version, integrity, optional, devOptional, dev } = wanted[path];
    if (path === '' || optional || (production && (dev || devOptional))) return false;
    const found = installed[path];
    return (
      found?.version !== version ||
      found.integrity !== integrity ||
      !existsSync(join(root, path, 'package.json'))
    );
  });
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Whether node_modules/.bin/node is a Node that runs TypeScript as it is. */
function runsOurNode() {
  try {
    // Asking it takes a while; mostly it is the one that runs this.
    if (realpathSync(linkedNode) === process.execPath) return isRecent(process.versions.node);
  } catch {
    return false;
  }
  const { stdout, status } = spawnSync(linkedNode, ['-p', 'process.versions.node'], { encoding: 'utf8' });
  return status === 0 && isRecent(stdout.trim());
}

function isRecent(version) {
  const [major, minor, patch] = version.split('.').map(Number);
  const [leastMajor, leastMinor, leastPatch] = LEAST_NODE;
  if (major !== leastMajor) return major > leastMajor;
  return minor !== leastMinor ? minor > leastMinor : patch >= leastPatch;
}

async function install() {
  const began = Date.now();
  const size = production ? '0.5 GB' : '0.9 GB';
  say(`installing packages into ${modules} (${size}; about a minute, only now and after updates)`);
  const { code, output } = await runNpm([
    'ci',
    production ? '--omit=dev' : '--include=dev',
    '--include=optional',
    '--ignore-scripts',
    '--install-strategy=hoisted',
    '--no-legacy-peer-deps',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--loglevel=error',
  ]);
  if (code !== 0) throw new SetupError(explain(code, output));
  const missing = listMissing();
  if (missing.length > 0) throw new SetupError(`npm ci left out ${missing.slice(0, 5).join(', ')}`);
  say(`packages are installed (${Math.round((Date.now() - began) / 1000)} s)`);
}

function runNpm(args) {
  const { npm_execpath: script = '', npm_node_execpath: node = process.execPath } = process.env;
  const [command, first] = basename(script) === 'npm-cli.js' ? [node, [script]] : ['npm', []];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...first, ...args], { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
    // Killed outright: what it leaves half done is done anew by the next run. By itself it would take a while to stop.
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill('SIGKILL'));
    // If this process is killed, npm goes on: whoever comes next waits for it.
    writeFileSync(lockFile, describeHolders(process.pid, child.pid));
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      process.stderr.write(text);
      output = (output + text).slice(-20_000);
    });
    child.once('error', () =>
      reject(new SetupError('npm is not installed: it comes with Node (nodejs.org)')),
    );
    child.once('close', (code, signal) => {
      if (signal) reject(new SetupError('stopped'));
      else resolve({ code, output });
    });
  });
}

function explain(code, output) {
  if (/ENOSPC|no space left/i.test(output) || freeBytes() < 50e6) {
    return `the disk of ${root} is full (${Math.round(freeBytes() / 1e6)} MB are free): make room and run this again`;
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT/.test(output)) {
    return 'the npm registry cannot be reached: check the network (or npm config get registry, proxy) and run this again';
  }
  if (/EACCES|EPERM|EROFS/.test(output)) return `${root} cannot be written to: run this as its owner`;
  return `npm ci failed (exit code ${code}); what it says stands above`;
}

function freeBytes() {
  const { bavail, bsize } = statfsSync(root);
  return bavail * bsize;
}

/** The locked Node of this platform; where there is none, the machine's own, if it is recent enough. */
function linkNode() {
  const packaged = join(modules, `node-${process.platform}-${process.arch}`, 'bin', 'node');
  for (const target of [relative(join(modules, '.bin'), packaged), process.execPath]) {
    const draft = `${linkedNode}.${process.pid}`;
    mkdirSync(join(modules, '.bin'), { recursive: true });
    rmSync(draft, { force: true });
    symlinkSync(target, draft);
    renameSync(draft, linkedNode);
    if (runsOurNode()) return;
  }
  rmSync(linkedNode, { force: true });
  throw new SetupError(
    `has no Node for ${process.platform} ${process.arch} and the one here is ${process.version}: ` +
      `install Node ${LEAST_NODE.join('.')} or newer (nodejs.org)`,
  );
}

/** One installation at a time in this folder; the others wait for it. Resolves to the function that lets the next in. */
async function acquireLock() {
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(lockFile, describeHolders(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw new SetupError(`${root} cannot be written to (${error.code})`);
    }
    if (isStale()) rmSync(lockFile, { force: true });
    else if (!waited) say('another command is installing the packages; waiting for it');
    await sleep(200 + Math.random() * 100);
  }
  const heartbeat = setInterval(touchLock, HEARTBEAT_MS);
  const release = () => {
    clearInterval(heartbeat);
    rmSync(lockFile, { force: true });
  };
  return release;
}

function touchLock() {
  try {
    utimesSync(lockFile, new Date(), new Date());
  } catch {
    // Somebody cleaned the folder: the installation goes on.
  }
}

function describeHolders(...pids) {
  return JSON.stringify({ host: hostname(), pids });
}

function isStale() {
  try {
    const age = Date.now() - statSync(lockFile).mtimeMs;
    const { host, pids } = JSON.parse(readFileSync(lockFile, 'utf8'));
    if (host !== hostname()) return age > STALE_ELSEWHERE_MS;
    return !pids.some(isAlive) || age > STALE_HERE_MS;
  } catch {
    // Just being written or just removed: look again.
    return false;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

try {
  await setUp();
} catch (error) {
  if (!(error instanceof SetupError) && !error.syscall) throw error;
  say(error.message);
  process.exitCode = 1;
}
