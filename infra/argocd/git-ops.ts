/** What Argo CD has to know beyond the manifests: where they lie, and which cluster is whose. */
export interface GitOps {
  repoUrl: string;
  /** The branch that everybody follows: an environment differs by its folder, not by its branch. */
  revision: string;
  /** Where Argo CD runs. */
  namespace: string;
  /** The cluster of each environment, by the name that Argo CD knows it by. Unset: the one that Argo CD runs in. */
  clusters: Readonly<Record<string, string>>;
  /** Sites that run the environment `environment` each in a small cluster of its own. */
  edge: { environment: string; sites: readonly EdgeSite[] };
  /** When an environment takes no changes by itself. An operator can still sync by hand: `argocd app sync`. */
  closedHours: Readonly<Record<string, readonly ClosedHours[]>>;
  /** The environment that runs a new image as soon as the registry has it. The others get theirs by promotion. */
  follows?: { environment: string; image: string; versions: string };
}

export interface EdgeSite {
  /** A DNS label: part of names. */
  name: string;
  cluster: string;
}

export interface ClosedHours {
  /** Cron, in `timeZone`. */
  from: string;
  /** As `15h`. */
  duration: string;
  timeZone: string;
}

const timeZone = 'Europe/Berlin';

export const gitOps: GitOps = {
  repoUrl: 'https://github.com/fededge/fededge.git',
  revision: 'main',
  namespace: 'argocd',
  clusters: { staging: 'staging', production: 'production' },
  edge: {
    environment: 'edge-k3s',
    sites: [
      { name: 'site-a', cluster: 'edge-site-a' },
      { name: 'site-b', cluster: 'edge-site-b' },
    ],
  },
  closedHours: {
    production: [
      { from: '0 17 * * 1-4', duration: '15h', timeZone },
      { from: '0 17 * * 5', duration: '63h', timeZone },
    ],
  },
  follows: { environment: 'dev', image: 'ghcr.io/fededge/fededge', versions: '0.x' },
};
