/** A name and a password or secret of Harbor. */
export interface Login {
  username: string;
  password: string;
}

export interface Harbor {
  url: string;
  login: Login;
  fetch?: typeof fetch;
}

/** Harbor refused; its words are in the message. */
export class HarborError extends Error {
  override readonly name = 'HarborError';
  readonly status: number;

  constructor(what: string, status: number, answer: string) {
    super(`${what}: ${status} ${answer.slice(0, 500)}`);
    this.status = status;
  }
}

/** One call of Harbor's API (v2.0). Resolves to its JSON, if it has some; 404 is undefined. */
export async function ask<T>(
  { url, login, fetch = globalThis.fetch }: Harbor,
  method: 'GET' | 'POST' | 'PUT' | 'PATCH',
  path: string,
  body?: object,
): Promise<T | undefined> {
  const credentials = Buffer.from(`${login.username}:${login.password}`).toString('base64');
  const response = await fetch(new URL(`/api/v2.0${path}`, url), {
    method,
    headers: { authorization: `Basic ${credentials}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (response.status === 404 && method === 'GET') return undefined;
  if (!response.ok) throw new HarborError(`${method} ${path}`, response.status, text);
  return text === '' ? undefined : (JSON.parse(text) as T);
}

/** The one thing of a list that has this name. Harbor's search is by part of the name, and 100 a page at most. */
export async function findNamed<T extends { name: string }>(
  harbor: Harbor,
  path: string,
  name: string,
): Promise<T | undefined> {
  const separator = path.includes('?') ? '&' : '?';
  for (let page = 1; ; page += 1) {
    const items = (await ask<T[]>(harbor, 'GET', `${path}${separator}page_size=100&page=${page}`)) ?? [];
    const found = items.find((item) => item.name === name);
    if (found || items.length < 100) return found;
  }
}
