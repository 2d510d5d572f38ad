/**
 * Named points at which a fault test kills this process as `kill -9` would. `spec` is NAME or NAME:COUNT: at the
 * COUNTth pass of that point (the first by default). Without a spec nothing ever happens.
 */
export function createFailpoints(spec: string | undefined): (name: string) => Promise<void> {
  if (spec === undefined) return async () => {};
  const [, armed, count = '1'] = /^(.*?)(?::(\d+))?$/.exec(spec)!;
  let left = Number(count);
  return async (name) => {
    if (name !== armed) return;
    left -= 1;
    if (left > 0) return;
    process.kill(process.pid, 'SIGKILL');
    // The signal is under way: nothing after this point may happen.
    await new Promise(() => {});
  };
}
