import { copyFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import type { Deps } from '../../../api/deps.ts';

/** Every place where the tables contradict what holds for rounds; empty when all is well. */
export async function findFaults({ db }: Deps): Promise<string[]> {
  const rows = await db.pool.execute<{ fault: string }>(sql`
    select 'open_assignments of ' || r.id as fault from rounds r where r.open_assignments <>
      (select count(*) from assignments a where a.round_id = r.id and a.state = 'open')
    union all select 'open assignments of a round that is ' || r.state from rounds r
      where r.state <> 'collecting' and r.open_assignments > 0
    union all select 'accepted of ' || r.id from rounds r where r.accepted <>
      (select count(*) from updates u where u.round_id = r.id)
      + (select count(*) from evaluations e where e.round_id = r.id)
    union all select 'accepted assignments of ' || r.id from rounds r where r.accepted <>
      (select count(*) from assignments a where a.round_id = r.id and a.state = 'accepted')
    union all select 'over capacity: ' || r.id from rounds r where r.accepted > r.capacity
    union all select 'more results than invitations: ' || r.id from rounds r
      where r.accepted + r.dropped + r.open_assignments > r.invited
    union all select 'sequences of ' || u.round_id from updates u group by u.round_id
      having max(u.sequence) <> count(*) or min(u.sequence) <> 1
    union all select 'a lease on a round that is over' from leases l join rounds r on r.id = l.round_id
      where r.state in ('completed', 'failed')
    union all select 'a checkpoint of a round that is over' from checkpoints c join rounds r on r.id = c.round_id
      where r.state in ('completed', 'failed')
    union all select 'an update that is still accepted in a round that is ' || r.state
      from updates u join rounds r on r.id = u.round_id
      where r.state in ('completed', 'failed') and u.state = 'accepted'
    union all select 'a version that skips one' from model_versions v where v.version > 1 and not exists
      (select 1 from model_versions w where w.model_id = v.model_id and w.version = v.version - 1)
    union all select 'a version whose file is ' || coalesce(b.state, 'forgotten') from model_versions v
      left join blobs b on b.key = v.blob_key where v.round_id is not null and b.state is distinct from 'live'`);
  return rows.map(({ fault }) => fault);
}

/** Flips one bit of a stored file, from the end on. */
export async function damageBlob({ config }: Deps, key: string, fromEnd = 1): Promise<void> {
  const file = await open(join(config.dataDir, 'blobs', key), 'r+');
  const { size } = await file.stat();
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, size - fromEnd);
  await file.write(Buffer.from([byte[0]! ^ 1]), 0, 1, size - fromEnd);
  await file.close();
}

/** Puts another blob's bytes in a blob's place. */
export async function replaceBlob({ config }: Deps, key: string, by: string): Promise<void> {
  await copyFile(join(config.dataDir, 'blobs', by), join(config.dataDir, 'blobs', key));
}

export async function truncateBlob({ config }: Deps, key: string, bytes: number): Promise<void> {
  const file = await open(join(config.dataDir, 'blobs', key), 'r+');
  await file.truncate(bytes);
  await file.close();
}
