import type { Deps } from '../../deps.ts';
import { recallDevice } from '../../services/identity/authentication.ts';
import { weightsPath } from '../../services/models/paths.ts';
import type { PermittedFile } from '../../store/identity/download-permits.ts';
import type { Guards } from '../limits/guards.ts';
import { etagOf, headersOf, validatorsOf } from '../wire/file-headers.ts';
import type { HotFiles } from '../wire/hot-files.ts';
import { matchesEtag } from '../wire/ranges.ts';
import { answer, countRequest, type Failures, isPlainGet, mayBeQuick, type Quick } from './requests.ts';

const OPERATION = 'downloadWeights';
/** Files whose answers' heads are kept. */
const MAX_DESCRIBED = 64;

/**
 * Weights that are unchanged, or in memory, for a device that was let in a moment ago: the answer that the operation
 * would give, without a question to anybody. Whatever needs more thought is left to the operation.
 */
export function createQuickDownloads(
  deps: Deps,
  guards: Guards,
  { hot, failures }: { hot: Pick<HotFiles, 'peek'>; failures: Failures },
): Quick {
  const describe = createDescriptions();
  return (incoming, outgoing) => {
    const { headers, url } = incoming;
    if (!url!.startsWith('/v1/models/') || !isPlainGet(incoming) || !mayBeQuick(guards)) return false;
    const started = performance.now();
    const now = deps.clock.now();
    const device = recallDevice(deps, headers.authorization, now);
    const file = device && deps.credentials.permits.recall(device.id, now);
    if (!file) return false;
    const described = describe(file);
    if (url !== described.path && url !== described.explicitPath) return false;
    const isKnown = matchesEtag(headers['if-none-match'], described.etag);
    const content = isKnown ? undefined : hot.peek(file.blobKey);
    if (!isKnown && !content) return false;
    const { told, refusal } = countRequest(guards, incoming, device, described.path);
    if (refusal) {
      failures.note(incoming, { operation: OPERATION, error: refusal, started, told });
      return false;
    }
    const status = isKnown ? 304 : 200;
    const admitted = { incoming, outgoing, operation: OPERATION, path: described.path, started, told };
    answer(deps, guards, admitted, { status, headers: described[status], content });
    if (content) deps.metrics.downloadedBytes.inc(content.byteLength);
    return true;
  };
}

/** What answers say of a file, and the two ways to ask for it. */
interface Described {
  file: PermittedFile;
  path: string;
  /** With the variant, as assignments name it. */
  explicitPath: string;
  etag: string;
  200: string[];
  304: string[];
}

/** Made once for a file and not for each device that may fetch it: they are most of what such an answer costs. */
function createDescriptions(): (file: PermittedFile) => Described {
  const described = new Map<string, Described>();
  return (file) => {
    const known = described.get(file.blobKey);
    if (known?.file.version === file.version && known.file.model === file.model) return known;
    if (described.size >= MAX_DESCRIBED) described.clear();
    const explicitPath = weightsPath(file.model, file.version);
    const made = {
      file,
      path: explicitPath.slice(0, explicitPath.indexOf('?')),
      explicitPath,
      etag: etagOf(file),
      200: Object.entries(headersOf(file)).flat(),
      304: Object.entries(validatorsOf(file)).flat(),
    };
    described.set(file.blobKey, made);
    return made;
  };
}
