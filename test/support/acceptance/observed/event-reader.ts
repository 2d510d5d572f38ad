import type { Service } from '../services.ts';

export interface StreamEvent {
  position: number;
  type: string;
  subject: Record<string, string | number>;
  createdAt: string;
}

export interface EventStream {
  /** The position that the stream began after. */
  readonly start: number;
  /** The next event. Undefined: the stream has ended or broken. */
  next(): Promise<StreamEvent | undefined>;
  close(): void;
}

/** Opens the stream of events after a position, or of what happens from now on; of all types, or of these alone. */
export async function openEvents(
  { operatorKey }: Pick<Service, 'operatorKey'>,
  url: string,
  lastEventId?: number,
  types?: string,
): Promise<EventStream> {
  const end = new AbortController();
  const response = await fetch(`${url}/v1/events${types ? `?types=${types}` : ''}`, {
    headers: {
      authorization: `Bearer ${operatorKey}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) }),
    },
    signal: end.signal,
  });
  if (!response.ok) throw new Error(`no events: ${response.status} ${await response.text()}`);
  const blocks = readBlocks(response.body!);
  const first = await blocks.next();
  return {
    start: Number(first.value!.id),
    async next() {
      for (;;) {
        const { value, done } = await blocks.next().catch(() => ({ value: undefined, done: true }));
        if (done || !value) return undefined;
        if (value.data === undefined) continue;
        const event = JSON.parse(value.data) as StreamEvent;
        if (String(event.position) !== value.id || event.type !== value.event) {
          throw new Error(`an event whose id or type is not its own: ${JSON.stringify(value)}`);
        }
        return event;
      }
    },
    close: () => end.abort(),
  };
}

/** Everything that has happened up to now. */
export async function readAllEvents(service: Service): Promise<StreamEvent[]> {
  const url = service.url();
  const now = await openEvents(service, url);
  now.close();
  const stream = await openEvents(service, url, 0);
  const events: StreamEvent[] = [];
  while ((events.at(-1)?.position ?? 0) < now.start) {
    const event = await stream.next();
    if (!event) throw new Error('the stream of events broke');
    events.push(event);
  }
  stream.close();
  return events;
}

/** Blocks of `field: value` lines, with an empty line after each; comments are left out. */
async function* readBlocks(body: ReadableStream<Uint8Array>): AsyncGenerator<Record<string, string>> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    for (const block of blocks) {
      const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith(':'));
      if (lines.length === 0) continue;
      yield Object.fromEntries(lines.map((line) => line.split(/: (.*)/s, 2) as [string, string]));
    }
  }
}
