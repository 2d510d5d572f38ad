/** Small enough that a slow line takes one in time. */
const PIECE_BYTES = 65_536;

interface SentBody {
  body?: Uint8Array<ArrayBuffer> | string | ReadableStream<Uint8Array>;
  /** Where the body is a stream: `fetch` asks for it. */
  duplex?: 'half';
}

/** What a request sends, so that `moved` is called whenever a piece of it is under way. */
export function sentBody(body: Uint8Array<ArrayBuffer> | string | undefined, moved: () => void): SentBody {
  if (!body) return {};
  if (typeof body === 'string' || body.length <= PIECE_BYTES) return { body };
  let position = 0;
  const pieces = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        moved();
        if (position >= body.length) return controller.close();
        controller.enqueue(body.subarray(position, position + PIECE_BYTES));
        position += PIECE_BYTES;
      },
    },
    // Pieces are taken as the line takes them.
    { highWaterMark: 0 },
  );
  return { body: pieces, duplex: 'half' };
}

/** The same answer with its body read, which need not be waited for any more. */
export async function readWhole(response: Response, moved: () => void): Promise<Response> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) {
    moved();
    chunks.push(chunk as Uint8Array);
  }
  const { status, statusText, headers } = response;
  return new Response(chunks.length > 0 ? Buffer.concat(chunks) : null, { status, statusText, headers });
}
