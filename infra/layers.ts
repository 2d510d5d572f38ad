import { agents } from './charts/agents.ts';
import { api } from './charts/api.ts';
import { backup } from './charts/backup.ts';
import { catalog } from './charts/catalog.ts';
import { clients } from './charts/clients.ts';
import { configuration } from './charts/configuration.ts';
import { dashboard } from './charts/dashboard.ts';
import { database } from './charts/database.ts';
import { exposure } from './charts/exposure.ts';
import { migration } from './charts/migration.ts';
import { monitoring } from './charts/monitoring.ts';
import { namespace } from './charts/namespace.ts';
import { networkPolicies } from './charts/network-policies.ts';
import { releases } from './charts/releases.ts';
import { secrets } from './charts/secrets.ts';
import { serviceAccounts } from './charts/service-accounts.ts';
import { storage } from './charts/storage.ts';
import { worker } from './charts/worker.ts';
import { flavours } from './flavours.ts';
import type { Part } from './part.ts';

/** The architecture, in the order in which it comes up. */
export const parts: readonly Part[] = [
  { layer: 'platform', name: 'namespace', add: namespace },
  { layer: 'platform', name: 'service-accounts', add: serviceAccounts },
  { layer: 'platform', name: 'network-policies', add: networkPolicies },
  { layer: 'platform', name: 'configuration', add: configuration },
  { layer: 'platform', name: 'secrets', add: secrets },
  { layer: 'data', name: 'storage', add: storage },
  { layer: 'data', name: 'database', add: database },
  { layer: 'server', name: 'migration', add: migration },
  { layer: 'server', name: 'api', add: api },
  { layer: 'server', name: 'worker', add: worker },
  { layer: 'server', name: 'exposure', add: exposure },
  { layer: 'server', name: 'backup', add: backup },
  { layer: 'rollout', name: 'catalog', add: catalog },
  { layer: 'rollout', name: 'releases', add: releases },
  { layer: 'agents', name: 'agents', add: agents },
  { layer: 'agents', name: 'clients', add: clients },
  { layer: 'observability', name: 'monitoring', add: monitoring },
  { layer: 'observability', name: 'dashboard', add: dashboard },
  ...flavours,
];
