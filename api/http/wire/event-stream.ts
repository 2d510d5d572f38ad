import type { Event } from '../../services/journal/events.ts';

const HEARTBEAT_MS = 15_000;
const RETRY_MS = 2000;
/** Events that wait for a slow reader before the table is read no further. */
const BUFFERED_EVENTS = 64;

interface EventStreamOptions {
  /** Goes out first, as the id that a reader resumes from before its first event. */
  position: number;
  follow(signal: AbortSignal): AsyncIterable<Event>;
  /** Called at every heartbeat; the stream ends when it rejects. */
  stillAllowed(): Promise<unknown>;
  /** Told what ended the stream, unless it was its reader or `signal`. */
  onError(error: unknown): void;
  signal: AbortSignal;
  heartbeatMs?: number;
}

/** Events as a `text/event-stream` body (WHATWG HTML, section 9.2), with a comment every 15 s. */
export function streamEvents(options: EventStreamOptions): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
    {},
    { highWaterMark: BUFFERED_EVENTS },
  );
  void writeEvents(writable.getWriter(), options);
  return readable;
}

async function writeEvents(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  { position, follow, stillAllowed, onError, signal, heartbeatMs = HEARTBEAT_MS }: EventStreamOptions,
): Promise<void> {
  const end = new AbortController();
  const text = new TextEncoder();
  // The reader went away: the body was cancelled.
  writer.closed.catch(() => end.abort());
  const beat = async () => {
    await stillAllowed();
    if ((writer.desiredSize ?? 0) > 0) await writer.write(text.encode(': \n\n'));
  };
  const heartbeat = setInterval(() => void beat().catch(() => end.abort()), heartbeatMs);
  try {
    await writer.write(text.encode(`retry: ${RETRY_MS}\nid: ${position}\n\n`));
    for await (const event of follow(AbortSignal.any([signal, end.signal]))) {
      await writer.write(text.encode(renderEvent(event)));
    }
  } catch (error) {
    if (!end.signal.aborted) onError(error);
  } finally {
    clearInterval(heartbeat);
    await writer.close().catch(() => undefined);
  }
}

function renderEvent({ position, type, subject, createdAt }: Event): string {
  const data = JSON.stringify({ position, type, subject, createdAt });
  return `id: ${position}\nevent: ${type}\ndata: ${data}\n\n`;
}
