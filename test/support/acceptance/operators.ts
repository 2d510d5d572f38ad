import { type Answer, expectStatus, type Request, sendUntilAnswered } from './requests.ts';
import type { Service } from './services.ts';

export interface Run {
  id: string;
  model: string;
  state: 'active' | 'paused' | 'completed' | 'stopped' | 'failed';
  reason?: string;
  completedRounds: number;
  lastRound: number;
  capacity: number;
}

export interface Round {
  id: string;
  run: string;
  model: string;
  kind: 'train' | 'evaluate';
  number: number;
  state: 'pending' | 'collecting' | 'aggregating' | 'completed' | 'failed';
  reason?: string;
  baseVersion: number;
  version?: number;
  quorum: number;
  capacity: number;
  invited: number;
  openAssignments: number;
  accepted: number;
  metrics?: Record<string, number>;
}

export interface Update {
  assignment: string;
  device: string;
  sequence: number;
  state: 'accepted' | 'folded' | 'rejected' | 'expired';
  reason?: string;
  digest: string;
  numExamples: number;
  weight: number;
}

export interface Version {
  model: string;
  version: number;
  parent: number | null;
  round: string | null;
  digest: string;
  bytes: number;
  deviceScore: Record<string, number> | null;
  downloads: { url: string; digest: string; bytes: number }[];
}

/** Calls with the operator's key. */
export interface Operator {
  request(request: Request): Promise<Answer>;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, json?: unknown): Promise<T>;
  /** All items of a list, page by page. */
  list<T>(path: string): Promise<T[]>;
}

export function createOperator(service: Pick<Service, 'url' | 'operatorKey'>): Operator {
  const request = (wanted: Request) =>
    sendUntilAnswered(async () => ({
      url: service.url(),
      request: {
        ...wanted,
        headers: { authorization: `Bearer ${service.operatorKey}`, ...wanted.headers },
      },
    }));
  const get = async <T>(path: string) => expectStatus<T>(await request({ method: 'GET', path }), 200);
  return {
    request,
    get,
    post: async <T>(path: string, json?: unknown) =>
      expectStatus<T>(await request({ method: 'POST', path, json }), 200, 201),
    async list<T>(path: string) {
      const items: T[] = [];
      let cursor: string | undefined;
      do {
        const query = `${path.includes('?') ? '&' : '?'}limit=200${cursor ? `&cursor=${cursor}` : ''}`;
        const page = await get<{ items: T[]; nextCursor?: string }>(path + query);
        items.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor);
      return items;
    },
  };
}
