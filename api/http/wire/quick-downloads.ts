import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import { recallDevice } from '../../services/identity/authentication.ts';
import type { PermittedFile } from '../../store/identity/download-permits.ts';
import { isTracing } from '../../tracing/spans.ts';
import type { Guards } from '../limits/guards.ts';
import { etagOf, headersOf, validatorsOf } from './file-headers.ts';
import type { HotFiles } from './hot-files.ts';
import { matchesEtag } from './ranges.ts';

const OPERATION = 'downloadWeights';
const WEIGHTS = /^(\/v1\/models\/([\w.-]+)\/versions\/([1-9]\d{0,8})\/weights)(?:\?variant=f32)?$/;

/** Answers a request at once, if it can. False: nothing was done. */
export type Quick = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

/**
 * Weights that are unchanged, or in memory, for a device that was let in a moment ago: the answer that the operation
 * would give, without a question to anybody. Whatever needs more thought is left to the operation.
 */
export function createQuickDownloads(deps: Deps, guards: Guards, hot: Pick<HotFiles, 'peek'>): Quick {
  return (incoming, outgoing) => {
    const asked = incoming.method === 'GET' ? WEIGHTS.exec(incoming.url!) : null;
    if (!asked || !isPlain(incoming) || guards.readLoad() !== 'normal' || isTracing()) return false;
    const started = performance.now();
    const [, path, model, version] = asked as unknown as [string, string, string, string];
    const device = recallDevice(deps, incoming.headers.authorization);
    if (!device) return false;
    const file = deps.credentials.permits.find(device.id, model, Number(version), deps.clock.now());
    if (!file) return false;
    const isKnown = matchesEtag(incoming.headers['if-none-match'], etagOf(file));
    const content = isKnown ? undefined : hot.peek(file.blobKey);
    if (!isKnown && !content) return false;
    const requestId = randomUUID();
    const told = countRequest(guards, incoming, device, path);
    if (!told) return false;
    const status = isKnown ? 304 : 200;
    const common = Object.entries(guards.commonHeaders(requestId, incoming.headers.origin)).flat();
    outgoing.writeHead(status, [...common, ...told, ...describe(file, status)]);
    outgoing.end(content);
    record(deps, { requestId, path, status, started, bytes: content?.byteLength ?? 0 });
    return true;
  };
}

/** No part, no body, and one token: of several the operation decides. */
function isPlain({ headers, rawHeaders }: IncomingMessage): boolean {
  const { range, expect, 'content-length': length, 'transfer-encoding': encoding } = headers;
  if ((range ?? expect ?? length ?? encoding) !== undefined) return false;
  let tokens = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 'authorization'.length && name.toLowerCase() === 'authorization') tokens += 1;
  }
  return tokens === 1;
}

/** Made once for a file: they are most of what such an answer costs. */
const described = new WeakMap<PermittedFile, { 200: string[]; 304: string[] }>();

function describe(file: PermittedFile, status: 200 | 304): string[] {
  let headers = described.get(file);
  if (!headers) {
    headers = {
      200: Object.entries(headersOf(file)).flat(),
      304: Object.entries(validatorsOf(file)).flat(),
    };
    described.set(file, headers);
  }
  return headers[status];
}

/** The headers that tell the limits, names and values in turn; undefined: one is used up. */
function countRequest(
  { limits }: Guards,
  { headers, socket }: IncomingMessage,
  device: Principal,
  path: string,
): string[] | undefined {
  const told = new Map<string, string>();
  const answer = { header: (name: string, value: string) => void told.set(name, value) };
  const { remoteAddress } = socket;
  const forwardedFor = headers['x-forwarded-for'] as string | undefined;
  try {
    limits.countAddress(answer, { method: 'GET', path, remoteAddress, forwardedFor });
    limits.countPrincipal(answer, device);
    return [...told].flat();
  } catch (error) {
    if (error instanceof FedEdgeError) return undefined;
    throw error;
  }
}

function record(
  { metrics, log }: Deps,
  done: { requestId: string; path: string; status: number; started: number; bytes: number },
): void {
  const { requestId, path, status, started, bytes } = done;
  const ms = performance.now() - started;
  metrics.httpSeconds.observe({ operation: OPERATION, status: status === 304 ? '3xx' : '2xx' }, ms / 1000);
  if (bytes > 0) metrics.downloadedBytes.inc(bytes);
  log.info({ requestId, method: 'GET', path, status, ms: Math.round(ms) });
}
