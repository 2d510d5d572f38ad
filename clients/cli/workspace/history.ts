import { readCommitted, type Workspace } from './workspace.ts';

/** What a file was at a commit. */
export interface Earlier {
  commit: string;
  text: string;
}

/** A file's contents from the newest commit to the oldest; commits that removed it are left out. */
export async function listContents(workspace: Workspace, path: string): Promise<Earlier[]> {
  const commits = (await workspace.git.run('log', '--format=%H', '--', path)).split('\n').filter(Boolean);
  const contents = [];
  for (const commit of commits) {
    const text = await readCommitted(workspace, path, commit);
    if (text !== undefined) contents.push({ commit, text });
  }
  return contents;
}

/**
 * The content that was there before the present one came. If the present one came back by a rollback, then what was
 * there before it came the first time: rolling back twice goes back twice, and never forward again.
 */
export function previousContent(
  contents: readonly Earlier[],
  isSame: (a: string, b: string) => boolean,
): Earlier | undefined {
  const present = contents[0];
  if (!present) return undefined;
  const first = contents.findLastIndex(({ text }) => isSame(text, present.text));
  return contents[first + 1];
}
