const UNTELLABLE = /[\p{Cc}\p{Cs}]/gu;

/** A message that may quote what others wrote, on one line that PostgreSQL takes: no controls, no half surrogates. */
export function tellable(message: string, maxLength: number): string {
  return message.slice(0, maxLength).replace(UNTELLABLE, '\ufffd');
}
