/**
 * Lets callers share what they all need done: each gets a run that begins after its call. All who come while one is under
 * way share the one after it.
 */
export function shareRuns(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;

  function begin(): Promise<void> {
    next = undefined;
    const begun = run();
    running = begun;
    const clear = () => {
      if (running === begun && !next) running = undefined;
    };
    begun.then(clear, clear);
    return begun;
  }

  return () => {
    if (!running) return begin();
    next ??= running.then(begin, begin);
    return next;
  };
}
