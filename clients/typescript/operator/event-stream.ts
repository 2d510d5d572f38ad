import type { Client } from '../generated/client/index.ts';
import { settle } from '../http/calls.ts';
import { ConnectionError } from '../http/problem-error.ts';

/** Something that happened in the federation. */
export interface FederationEvent {
  /** Where to go on: events are numbered in the order of their commits. */
  position: number;
  /** As `round.completed`; `opened` is the stream's own. */
  type: string;
  subject: Readonly<Record<string, unknown>>;
  createdAt: string | undefined;
}

/**
 * One connection to the event stream (WHATWG HTML, section 9.2). The first event is `opened`: nothing that happens
 * after it is missed. Throws a `ConnectionError` when the connection ends, a `ProblemError` when it is refused.
 */
export async function* openEvents(
  api: Client,
  { after, types }: { after: number | undefined; types: readonly string[] },
  signal: AbortSignal,
): AsyncGenerator<FederationEvent> {
  const query = { ...(after !== undefined && { after }), ...(types.length > 0 && { types: types.join() }) };
  const call = api.get<{ 200: ReadableStream<Uint8Array<ArrayBuffer>> }>({
    url: '/v1/events',
    query,
    signal,
    parseAs: 'stream',
    headers: { Accept: 'text/event-stream' },
    security: [{ scheme: 'bearer', type: 'http' }],
  });
  const { data: body } = await settle(call, signal);
  for await (const block of readBlocks(body, signal)) {
    const event = readEvent(block);
    if (event) yield event;
  }
  throw new ConnectionError(new Error('the event stream ended'));
}

/** The stream cut at blank lines. Our server ends lines by a line feed. */
async function* readBlocks(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let text = '';
  try {
    for await (const piece of body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + piece).split('\n\n');
      text = blocks.pop()!;
      yield* blocks;
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw new ConnectionError(cause);
  }
}

function readEvent(block: string): FederationEvent | undefined {
  const fields = new Map(
    block.split('\n').map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')] as const;
    }),
  );
  const data = fields.get('data');
  if (data !== undefined) return JSON.parse(data) as FederationEvent;
  const id = fields.get('id');
  return id === undefined
    ? undefined
    : { position: Number(id), type: 'opened', subject: {}, createdAt: undefined };
}
