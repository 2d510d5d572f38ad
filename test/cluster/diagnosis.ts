import { describe, listApplications } from './applications.ts';
import { isReady, type Kubectl, NAMESPACE, type Pod } from './kubectl.ts';

const LINES = 25;

/** What somebody wants to see who was not there: applications, pods, the latest events, the last words of ill pods. */
export async function diagnose(kubectl: Kubectl, say: (line: string) => void): Promise<void> {
  const show = async (title: string, look: () => Promise<string[]>) => {
    const lines = await look().catch((error: Error) => [error.message]);
    say(`    --- ${title}`);
    for (const line of lines) say(`    ${line}`);
  };
  await show('applications', async () => (await listApplications(kubectl)).map(describe));
  await show('pods', async () => split(await kubectl(['get', 'pods', '-n', NAMESPACE, '-o', 'wide'])));
  await show('events', async () =>
    split(
      await kubectl([
        'get',
        'events',
        '-n',
        NAMESPACE,
        '--sort-by=.lastTimestamp',
        '--field-selector=type!=Normal',
      ]),
    ).slice(-LINES),
  );
  const pods = await kubectl.list<Pod>('pods', NAMESPACE).catch(() => []);
  for (const pod of pods.filter((one) => one.status.phase !== 'Succeeded' && !isReady(one)).slice(0, 4)) {
    const { name } = pod.metadata;
    await show(`log of ${name}`, async () =>
      split(await kubectl(['logs', '-n', NAMESPACE, name, '--all-containers', `--tail=${LINES}`])),
    );
  }
}

function split(text: string): string[] {
  return text.trimEnd().split('\n');
}
