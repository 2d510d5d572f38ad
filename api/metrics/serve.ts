import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Serves `/metrics` and `/livez`, for a process that has no HTTP otherwise. Rejects if the address is taken. */
export async function serveMetrics(
  measure: () => Promise<{ text: string; type: string }>,
  { host, port }: { host: string; port: number },
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(
    { headersTimeout: 5000, requestTimeout: 5000, maxHeaderSize: 8192 },
    (request, answer) => {
      if (request.method === 'GET' && request.url === '/livez') return answer.writeHead(200).end();
      if (request.method !== 'GET' || request.url !== '/metrics') return answer.writeHead(404).end();
      measure().then(
        ({ text, type }) => answer.writeHead(200, { 'content-type': type }).end(text),
        () => answer.writeHead(500).end(),
      );
    },
  );
  server.listen(port, host);
  await once(server, 'listening');
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}/metrics`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
