import { agents } from './charts/agents/agents.ts';
import { clients } from './charts/agents/clients.ts';
import { database } from './charts/data/database.ts';
import { storage } from './charts/data/storage.ts';
import { dashboard } from './charts/observability/dashboard.ts';
import { monitoring } from './charts/observability/monitoring.ts';
import { configuration } from './charts/platform/configuration.ts';
import { namespace } from './charts/platform/namespace.ts';
import { networkPolicies } from './charts/platform/network-policies.ts';
import { secrets } from './charts/platform/secrets.ts';
import { serviceAccounts } from './charts/platform/service-accounts.ts';
import { catalog } from './charts/rollout/catalog.ts';
import { releases } from './charts/rollout/releases.ts';
import { api } from './charts/server/api.ts';
import { backup } from './charts/server/backup.ts';
import { exposure } from './charts/server/exposure.ts';
import { migration } from './charts/server/migration.ts';
import { worker } from './charts/server/worker.ts';
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
