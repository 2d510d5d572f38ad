import {
  type Attributes,
  type Context,
  context,
  INVALID_SPAN_CONTEXT,
  propagation,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

const tracer = trace.getTracer('fededge');
/** Takes everything, and keeps nothing. */
const NO_SPAN = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);

/** Whether anybody takes traces from this process. */
export function isTracing(): boolean {
  return propagation.fields().includes('traceparent');
}

/**
 * The trace of a round as a W3C `traceparent`: its trace id is the round's id, so that every process and device that has
 * a part in the round can name it without asking. Undefined while nobody traces here.
 */
export function traceparentOf(roundId: string): string | undefined {
  const traceId = traceIdOf(roundId);
  return isTracing() ? `00-${traceId}-${traceId.slice(16)}-01` : undefined;
}

/** Does `work` in a span of the caller's trace, or of the one that `traceparent` names. Nearly free while nobody traces. */
export async function traced<T>(
  name: string,
  { traceparent, ...attributes }: Attributes & { traceparent?: string | undefined },
  work: (span: Span) => Promise<T>,
): Promise<T> {
  if (!isTracing()) return work(NO_SPAN);
  return inSpan(name, attributes, contextOf(traceparent), work);
}

/** Does `work` in a span of the round's trace: below the caller's if that is in it. */
export async function tracedInRound<T>(
  roundId: string,
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  if (!isTracing()) return work(NO_SPAN);
  const isWithin = trace.getSpanContext(context.active())?.traceId === traceIdOf(roundId);
  const traceparent = isWithin ? undefined : traceparentOf(roundId);
  return inSpan(name, attributes, contextOf(traceparent), work);
}

function inSpan<T>(
  name: string,
  attributes: Attributes,
  parent: Context,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, parent, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'error' });
      throw error;
    } finally {
      span.end();
    }
  });
}

function contextOf(traceparent: string | undefined): Context {
  return traceparent === undefined
    ? context.active()
    : propagation.extract(context.active(), { traceparent });
}

function traceIdOf(roundId: string): string {
  return roundId.replaceAll('-', '');
}
