import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createOperator, type Operator } from '../typescript/operator/operator.ts';
import type { Context } from './context.ts';
import { Failure, misuse } from './failure.ts';

export interface ServerOptions {
  url?: string;
  keyFile?: string;
}

/** A person waits: a server that is not there is told soon. */
const ATTEMPTS = 3;

/** The server that the options name. Throws a failure that says which option is missing. */
export async function connect({ url, keyFile }: ServerOptions, { cwd, signal }: Context): Promise<Operator> {
  const address = requireUrl(url);
  if (!keyFile) {
    throw misuse(
      'no operator key',
      'Name the file that holds it: --key-file FILE or FEDEDGE_OPERATOR_KEY_FILE.',
    );
  }
  const key = await readKey(resolve(cwd, keyFile));
  return createOperator({ url: address, key, signal, attempts: ATTEMPTS });
}

export function requireUrl(url: string | undefined): string {
  if (!url) throw misuse('no server', 'Name it: --url http://127.0.0.1:8080 or FEDEDGE_URL.');
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw misuse(`${url} is no http or https URL`);
  return url;
}

export async function readKey(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`the key file ${file} cannot be read (${error.code})`, 'Check --key-file.');
  });
  const key = text.trim();
  if (key === '' || /\s/.test(key))
    throw new Failure(`${file} holds no operator key`, 'It is one line: fedop_...');
  return key;
}
