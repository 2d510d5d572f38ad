/** Status and JSON body of a response in one value, to hold against what is expected. */
export async function answerOf(
  asked: Response | Promise<Response>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await asked;
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
}
