import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * Answers `/livez`, and `/readyz` with 200 once `isReady`, else 503: for whoever watches the process. Rejects if the port
 * is taken.
 */
export async function serveLiveness(
  port: number,
  isReady: () => boolean,
): Promise<{ port: number; close(): void }> {
  const server = createServer(
    { headersTimeout: 5000, requestTimeout: 5000, maxHeaderSize: 8192 },
    ({ method, url }, answer) => {
      if (method !== 'GET' || (url !== '/livez' && url !== '/readyz')) return answer.writeHead(404).end();
      answer.writeHead(url === '/livez' || isReady() ? 200 : 503).end();
    },
  );
  server.listen(port);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
