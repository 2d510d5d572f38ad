import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Named {
  id: number;
  name: string;
  [member: string]: unknown;
}

/** As much of Harbor 2's API as we call, in memory: names are unique, searches are by part of a name, pages have 100. */
export async function startFakeHarbor() {
  const projects: (Named & { project_id: number })[] = [];
  const lists: Record<string, Named[]> = { robots: [], registries: [], 'replication/policies': [] };
  const writes: string[] = [];
  let lastId = 0;

  function answer(method: string, url: URL, body: Named): [number, unknown?] {
    const path = url.pathname.replace('/api/v2.0/', '');
    const [, list = '', id] =
      /^(robots|registries|replication\/policies|projects)(?:\/([^/]+))?$/.exec(path) ?? [];
    if (method !== 'GET') writes.push(`${method} ${path}`);
    if (list === 'projects') return project(method, id, body);
    const items = lists[list];
    if (!items) return [404, { errors: [{ code: 'NOT_FOUND' }] }];
    if (method === 'GET') return [200, page(url, items)];
    if (method === 'POST') {
      if (items.some(({ name }) => name === nameOf(list, body)))
        return [409, { errors: [{ code: 'CONFLICT' }] }];
      lastId += 1;
      items.push({ ...body, name: nameOf(list, body), id: lastId });
      return [201, { id: lastId, ...(list === 'robots' && { secret: `secret-${lastId}` }) }];
    }
    const item = items.find((each) => String(each.id) === id);
    if (!item) return [404];
    if (method === 'PATCH') return [200, { secret: `renewed-${id}` }];
    Object.assign(item, body);
    return [200];
  }

  function nameOf(list: string, { name, permissions }: Named): string {
    if (list !== 'robots') return name;
    return `robot$${(permissions as { namespace: string }[])[0]!.namespace}+${name}`;
  }

  function project(method: string, id: string | undefined, body: Named): [number, unknown?] {
    const found = projects.find(({ name }) => name === id);
    if (method === 'POST') {
      lastId += 1;
      projects.push({ ...body, id: lastId, project_id: lastId, name: String(body.project_name) });
      return [201];
    }
    if (!found) return [404, { errors: [{ code: 'NOT_FOUND' }] }];
    if (method === 'PUT') Object.assign(found, body);
    return [200, found];
  }

  function page(url: URL, items: Named[]): Named[] {
    const [, part = ''] = /name=([^,]*)/.exec(url.searchParams.get('q') ?? '') ?? [];
    const first = 100 * (Number(url.searchParams.get('page')) - 1);
    return items.filter(({ name }) => name.includes(part)).slice(first, first + 100);
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, 'http://harbor');
    const isAdmin = request.headers.authorization === `Basic ${btoa('admin:Harbor12345')}`;
    const [status, json] = isAdmin
      ? answer(request.method!, url, await readJson(request))
      : [401, { errors: [{ code: 'UNAUTHORIZED' }] }];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(json === undefined ? '' : JSON.stringify(json));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    projects,
    lists,
    /** Calls that were no reads. */
    writes,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

async function readJson(request: IncomingMessage): Promise<Named> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}') as Named;
}
