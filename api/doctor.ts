/** Root: looks at the configuration and at everything that it names, and tells every fault at once. */
import { resolve } from 'node:path';
import { openBlobs } from './bootstrap.ts';
import { ConfigError, loadConfig } from './config.ts';
import { runProcess } from './process.ts';
import { diagnose, type Finding } from './services/diagnosis.ts';

type Environment = Record<string, string | undefined>;

const marks = { ok: 'ok     ', warning: 'warning', fault: 'FAULT  ' };

await runProcess(async () => {
  const { config, findings } = readConfig(process.env);
  if (config) {
    const settings = { ...config, dataDir: resolve(config.dataDir) };
    findings.push(...(await diagnose({ config: settings, blobs: openBlobs(settings, async () => {}) })));
  }
  for (const { check, state, message } of findings) console.log(`${marks[state]}  ${check}: ${message}`);
  if (findings.some(({ state }) => state === 'fault')) process.exitCode = 1;
});

/** The configuration, without the settings that have faults, so that the rest can be looked at too. */
function readConfig(env: Environment) {
  try {
    return { config: loadConfig(env), findings: [] as Finding[] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const findings = error.faults.map(
      (message): Finding => ({ check: 'configuration', state: 'fault', message }),
    );
    return { config: readRest(env, error), findings };
  }
}

function readRest(env: Environment, { faults }: ConfigError) {
  const named = new Set(faults.flatMap((text) => text.match(/\b(FEDEDGE|DATABASE)_[A-Z0-9_]+/g) ?? []));
  const rest = Object.fromEntries(Object.entries(env).filter(([name]) => !named.has(name)));
  try {
    return loadConfig(rest);
  } catch {
    return undefined;
  }
}
