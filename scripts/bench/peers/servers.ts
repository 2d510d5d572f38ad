import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Program, startNode, startProgram } from '../system/programs.ts';

const BARE = fileURLToPath(new URL('bare-server.ts', import.meta.url));

/** Folders that nginx makes at its start, wherever it was built to, unless it is told. */
const TEMPORARY = ['proxy', 'fastcgi', 'uwsgi', 'scgi'];

/** A server that FedEdge is held against. */
export interface PeerServer {
  url: string;
  pid: number;
  /** Removes the files that were put, so that turns do not fill the disk. */
  empty(): void;
  stop(): Promise<void>;
}

interface BareOptions {
  folder: string;
  openFiles?: number;
  /** The environment of a database that it may commit to. */
  database?: Record<string, string>;
}

export async function startBareServer(options: BareOptions): Promise<PeerServer> {
  const { database: env = {}, openFiles } = options;
  const files = mkdtempSync(join(options.folder, 'bare-'));
  const logFile = join(options.folder, 'bare.log');
  const program = startNode([BARE, files], { env, logFile, openFiles });
  const { url } = JSON.parse(await program.firstLine()) as { url: string };
  return describe(program, url, files);
}

/** nginx as it takes files by `dav_methods PUT`: neither hashed nor synced. Undefined where there is no nginx. */
export async function startNginx({ folder }: { folder: string }): Promise<PeerServer | undefined> {
  if (spawnSync('nginx', ['-v']).status !== 0) return undefined;
  const home = mkdtempSync(join(folder, 'nginx-'));
  const files = join(home, 'files');
  mkdirSync(files);
  const port = await freePort();
  writeFileSync(join(home, 'nginx.conf'), nginxConfig({ home, files, port }));
  const args = ['nginx', '-p', home, '-c', join(home, 'nginx.conf'), '-e', join(home, 'error.log')];
  const program = startProgram(args, { logFile: join(home, 'output.log') });
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const answered = await fetch(url).then(
      () => true,
      () => false,
    );
    if (answered) return describe(program, url, files);
    await sleep(50);
  }
  await program.stop();
  return undefined;
}

function nginxConfig({ home, files, port }: { home: string; files: string; port: number }): string {
  return `daemon off; master_process off; pid ${home}/nginx.pid;
events { worker_connections 512; }
http {
  access_log off; client_max_body_size 0; client_body_temp_path ${home}/bodies;
  ${TEMPORARY.map((name) => `${name}_temp_path ${home}/${name};`).join(' ')}
  server {
    listen 127.0.0.1:${port};
    location / { root ${files}; dav_methods PUT; create_full_put_path on; }
  }
}
`;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

function describe(program: Program, url: string, files: string): PeerServer {
  return {
    url,
    pid: program.pid,
    empty() {
      for (const name of readdirSync(files)) rmSync(join(files, name), { recursive: true, force: true });
    },
    stop: () => program.stop(),
  };
}
