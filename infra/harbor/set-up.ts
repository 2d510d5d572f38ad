import { ensureProject, ensureRegistry, ensureReplication, ensureRobot, type Outcome } from './ensure.ts';
import type { Harbor, Login } from './harbor.ts';

/** What the federation wants of Harbor. */
export interface Wanted {
  project: string;
  /** Robot accounts: what each may do with the project's repositories. */
  robots: Readonly<Record<string, readonly ('pull' | 'push')[]>>;
  /** Other sites' Harbors, by name: everything is replicated to them. */
  sites: Readonly<Record<string, { url: string; login: Login }>>;
}

/** One thing that Harbor has to have. A robot's secret is there when it is new. */
export interface Step {
  what: string;
  outcome: Outcome;
  login?: Login;
}

/**
 * Makes Harbor what `wanted` says: project, robot accounts, sites, replication. A second time it changes nothing (but the
 * sites' passwords, which cannot be compared). `renew` names robots that get a new secret. Stops at the first refusal;
 * what was done before stays, and is found the next time.
 */
export async function setUp(
  harbor: Harbor,
  { project, robots, sites }: Wanted,
  { renew = [] }: { renew?: readonly string[] } = {},
): Promise<Step[]> {
  const { id, outcome } = await ensureProject(harbor, project);
  const steps: Step[] = [{ what: `project ${project}`, outcome }];
  for (const [name, actions] of Object.entries(robots)) {
    const options = { name, actions, renew: renew.includes(name) };
    const { username, secret, ...robot } = await ensureRobot(harbor, { id, name: project }, options);
    const login = secret === undefined ? {} : { login: { username, password: secret } };
    steps.push({ what: `robot account ${username}`, ...robot, ...login });
  }
  for (const [name, site] of Object.entries(sites)) {
    const registry = await ensureRegistry(harbor, { name, ...site });
    steps.push({ what: `site ${name}`, outcome: registry.outcome });
    const replication = await ensureReplication(harbor, { project, registry: { id: registry.id, name } });
    steps.push({ what: `replication to ${name}`, outcome: replication });
  }
  return steps;
}
