import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Deps } from '../../deps.ts';
import type { Queryable } from '../../store/database.ts';
import {
  countOperators,
  ensureFederationRow,
  insertOperatorKey,
  lockOperatorKeys,
} from '../../store/identity/operator-keys.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { hashSecret, newSecret, operatorKeyPattern, secretPrefixes } from './secrets.ts';
import { createSecretFile } from './token-keys.ts';

/** The one federation, for now. */
export const DEFAULT_FEDERATION = 'default';

/** Where the first start leaves an operator key that it had to make. */
export function operatorKeyFile(dataDir: string): string {
  return join(dataDir, 'operator.key');
}

/**
 * Makes the federation, and those of configured issuers, and sees to it that somebody can manage it. The configured operator key becomes valid unless
 * it was revoked; without one, and if no valid operator key exists, one is made and written to `operatorKeyFile`,
 * readable by its owner alone. Any number of processes may call it, at every start. `createdKey` tells whether this
 * call made a key valid.
 */
export async function ensureFederation(
  deps: Pick<Deps, 'config' | 'db' | 'clock'>,
): Promise<{ createdKey: boolean }> {
  const { operatorKey, dataDir, oidcIssuers } = deps.config;
  if (operatorKey !== undefined && !operatorKeyPattern.test(operatorKey)) {
    throw new Error('FEDEDGE_OPERATOR_KEY has to be fedop_ and 43 base64url characters');
  }
  return deps.db.transaction(async (tx) => {
    const now = deps.clock.now();
    const federations = new Set([DEFAULT_FEDERATION, ...oidcIssuers.map(({ federation }) => federation)]);
    for (const id of [...federations].sort()) await ensureFederationRow(tx, id, now);
    await lockOperatorKeys(tx, DEFAULT_FEDERATION);
    if (operatorKey !== undefined) return { createdKey: await addKey(tx, operatorKey, now) };
    if ((await countOperators(tx, DEFAULT_FEDERATION)) > 0) return { createdKey: false };
    // The file comes before the commit: a key of which only the hash is left would lock everybody out.
    return { createdKey: await addKey(tx, await readOrCreateKey(operatorKeyFile(dataDir)), now) };
  });
}

async function addKey(tx: Queryable, secret: string, now: Date): Promise<boolean> {
  const key = {
    id: newId(now),
    federationId: DEFAULT_FEDERATION,
    name: 'first operator',
    role: 'operator' as const,
    secretHash: hashSecret(secret),
    createdAt: now,
  };
  if (!(await insertOperatorKey(tx, key))) return false;
  await recordAudit(tx, {
    federationId: DEFAULT_FEDERATION,
    actor: 'system',
    action: 'operator_key.create',
    target: `operator_key:${key.id}`,
    details: { name: key.name, role: key.role },
    createdAt: now,
  });
  return true;
}

async function readOrCreateKey(path: string): Promise<string> {
  await createSecretFile(path, `${newSecret(secretPrefixes.operatorKey)}\n`);
  const secret = (await readFile(path, 'utf8')).trim();
  if (!operatorKeyPattern.test(secret)) throw new Error(`${path} does not hold an operator key`);
  return secret;
}
