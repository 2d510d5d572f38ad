/** What the image starts: `server`, `worker`, `migrate`, `agent`, `release`, and the tools of operators beside them. */
const commands: Record<string, () => Promise<unknown>> = {
  server: () => import('../../api/server.ts'),
  worker: () => import('../../api/worker.ts'),
  migrate: () => import('../../api/migrate.ts'),
  agent: () => import('../../clients/typescript/program/agent.ts'),
  release: () => import('../../clients/typescript/program/release.ts'),
  backup: () => import('../../api/backup.ts'),
  restore: () => import('../../api/backup.ts'),
  doctor: () => import('../../api/doctor.ts'),
};
/** These tell by their first argument what to do. */
const named = new Set(['backup', 'restore']);

const command = process.argv[2] ?? 'server';
const start = commands[command];
if (start) {
  if (!named.has(command)) process.argv.splice(2, 1);
  await start();
} else {
  const known = Object.keys(commands).join(', ');
  console.error(`fededge: ${JSON.stringify(command)} is no command of this image; there are ${known}`);
  process.exitCode = 1;
}
