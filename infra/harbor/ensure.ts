import { ask, findNamed, type Harbor, type Login } from './harbor.ts';

/** What came of it: nothing had to be done, or something was. */
export type Outcome = 'unchanged' | 'created' | 'changed';

/** The project: private, every image scanned when it is pushed. */
export async function ensureProject(harbor: Harbor, name: string): Promise<{ id: number; outcome: Outcome }> {
  const metadata = { public: 'false', auto_scan: 'true' };
  const path = `/projects/${encodeURIComponent(name)}`;
  const find = () => ask<{ project_id: number; metadata: Record<string, string> }>(harbor, 'GET', path);
  const found = await find();
  if (!found) {
    await ask(harbor, 'POST', '/projects', { project_name: name, metadata });
    return { id: (await find())!.project_id, outcome: 'created' };
  }
  const outcome = differs(metadata, found.metadata) ? 'changed' : 'unchanged';
  if (outcome === 'changed') await ask(harbor, 'PUT', path, { metadata });
  return { id: found.project_id, outcome };
}

interface Robot {
  id: number;
  name: string;
  permissions: { access: { resource: string; action: string }[] }[];
}

/**
 * A robot account of the project, that may do `actions` with its repositories. Harbor tells the secret once: when it
 * makes the account, or a new one (`renew`).
 */
export async function ensureRobot(
  harbor: Harbor,
  project: { id: number; name: string },
  { name, actions, renew = false }: { name: string; actions: readonly string[]; renew?: boolean },
): Promise<{ outcome: Outcome; username: string; secret?: string }> {
  const username = `robot$${project.name}+${name}`;
  const access = actions.map((action) => ({ resource: 'repository', action }));
  const wanted = {
    name,
    level: 'project',
    duration: -1,
    disable: false,
    permissions: [{ kind: 'project', namespace: project.name, access }],
  };
  const robots = `/robots?q=${encodeURIComponent(`Level=project,ProjectID=${project.id}`)}`;
  const found = await findNamed<Robot>(harbor, robots, username);
  if (!found) {
    const made = await ask<{ secret: string }>(harbor, 'POST', '/robots', wanted);
    return { outcome: 'created', username, ...(made && { secret: made.secret }) };
  }
  const has = found.permissions.flatMap((permission) => permission.access.map(({ action }) => action));
  const isSame = [...has].sort().join() === [...actions].sort().join();
  if (!isSame) await ask(harbor, 'PUT', `/robots/${found.id}`, { ...wanted, name: username, id: found.id });
  // Harbor makes up the new secret.
  const renewed = renew
    ? await ask<{ secret: string }>(harbor, 'PATCH', `/robots/${found.id}`, {})
    : undefined;
  return {
    outcome: isSame && !renewed ? 'unchanged' : 'changed',
    username,
    ...(renewed && { secret: renewed.secret }),
  };
}

/** The Harbor of another site, to which we push. Its password cannot be read back, so it is always set. */
export async function ensureRegistry(
  harbor: Harbor,
  { name, url, login }: { name: string; url: string; login: Login },
): Promise<{ id: number; outcome: Outcome }> {
  const find = () =>
    findNamed<{ id: number; name: string; url: string }>(
      harbor,
      `/registries?q=${encodeURIComponent(`name=${name}`)}`,
      name,
    );
  const found = await find();
  if (!found) {
    const credential = { type: 'basic', access_key: login.username, access_secret: login.password };
    await ask(harbor, 'POST', '/registries', { name, url, type: 'harbor', insecure: false, credential });
    return { id: (await find())!.id, outcome: 'created' };
  }
  const { username: access_key, password: access_secret } = login;
  await ask(harbor, 'PUT', `/registries/${found.id}`, { url, access_key, access_secret });
  return { id: found.id, outcome: found.url === url ? 'unchanged' : 'changed' };
}

interface Replication {
  id: number;
  name: string;
  enabled: boolean;
  filters: { type: string; value: string }[];
}

/** Everything of the project goes to the site as soon as it is pushed here; what is deleted here stays there. */
export async function ensureReplication(
  harbor: Harbor,
  { project, registry }: { project: string; registry: { id: number; name: string } },
): Promise<Outcome> {
  const name = `${project}-to-${registry.name}`;
  const policy = {
    name,
    dest_registry: { id: registry.id },
    dest_namespace: project,
    dest_namespace_replace_count: -1,
    trigger: { type: 'event_based', trigger_settings: {} },
    filters: [{ type: 'name', value: `${project}/**` }],
    enabled: true,
    override: true,
    deletion: false,
  };
  const policies = `/replication/policies?q=${encodeURIComponent(`name=${name}`)}`;
  const found = await findNamed<Replication>(harbor, policies, name);
  if (!found) {
    await ask(harbor, 'POST', '/replication/policies', policy);
    return 'created';
  }
  const isSame = found.enabled && found.filters.some(({ value }) => value === `${project}/**`);
  if (!isSame) await ask(harbor, 'PUT', `/replication/policies/${found.id}`, { ...policy, id: found.id });
  return isSame ? 'unchanged' : 'changed';
}

function differs(wanted: Record<string, string>, has: Record<string, string | undefined>): boolean {
  return Object.entries(wanted).some(([name, value]) => has[name] !== value);
}
