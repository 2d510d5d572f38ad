import { at, drop, ofKind, pick } from '../support/objects.ts';
import { nameOf } from '../support/pods.ts';
import { changing, type Policy } from '../support/policy.ts';
import type { World } from '../support/worlds.ts';

const isEmbedded = ({ environment }: World) => environment.settings.database.kind === 'embedded';
const hasKnative = ({ environment }: World) => environment.settings.flavours.knative;
const replicasOf = (object: unknown) => at(object, 'spec.replicas') as number | undefined;

/** The two minutes that the API's startup probe allows, and a minute for its node and image. */
const SLOW_START_SECONDS = 180;

/** What runs how often, how it is replaced, and when it ends. */
export const workloads: readonly Policy[] = [
  {
    name: 'there is an API',
    violations: (world) =>
      [...ofKind(world, 'Deployment'), ...ofKind(world, 'Service')].filter(
        ({ kind, apiVersion, metadata }) =>
          metadata.name === 'fededge-api' &&
          (kind === 'Deployment' || apiVersion.startsWith('serving.knative.dev')),
      ).length === 1
        ? []
        : ['not one'],
    breakIt: (world) => drop(world, 'Deployment', 'fededge-api'),
  },
  {
    name: 'at least one worker runs, or the API works itself',
    violations: (world) => {
      const [worker] = ofKind(world, 'Deployment').filter(
        ({ metadata }) => metadata.name === 'fededge-worker',
      );
      const config = pick(world, 'ConfigMap', 'fededge-config').data as Record<string, string>;
      if (isEmbedded(world)) return config.FEDEDGE_WORKER === 'off' ? ['the embedded worker is off'] : [];
      return worker && (replicasOf(worker) ?? 1) >= 1 ? [] : ['no worker'];
    },
    breakIt: changing('Deployment', 'fededge-worker', 'spec.replicas', 0),
  },
  {
    name: 'what has replicas has a disruption budget that lets nodes be drained',
    violations: (world) =>
      ofKind(world, 'Deployment')
        .filter((object) => replicasOf(object) !== 1 || object.metadata.name === 'fededge-worker')
        .filter(({ metadata }) => {
          const budget = ofKind(world, 'PodDisruptionBudget').find(
            (each) => each.metadata.name === metadata.name,
          );
          return at(budget, 'spec.maxUnavailable') !== 1;
        })
        .map(nameOf),
    breakIt: changing('PodDisruptionBudget', 'fededge-api', 'spec.maxUnavailable', 0),
  },
  {
    name: 'a new version comes before the old one goes',
    violations: (world) =>
      isEmbedded(world)
        ? []
        : ofKind(world, 'Deployment')
            .filter(({ metadata }) => ['fededge-api', 'fededge-worker'].includes(metadata.name))
            .filter((object) => at(object, 'spec.strategy.rollingUpdate.maxUnavailable') !== 0)
            .map(nameOf),
    breakIt: changing('Deployment', 'fededge-api', 'spec.strategy', { type: 'Recreate' }),
  },
  {
    name: 'a rollout that comes to nothing is told while somebody looks, and not before a slow start is over',
    violations: (world) =>
      ofKind(world, 'Deployment')
        .filter(({ metadata }) => ['fededge-api', 'fededge-worker'].includes(metadata.name))
        .filter((object) => {
          const deadline = (at(object, 'spec.progressDeadlineSeconds') as number | undefined) ?? 600;
          const longest = isEmbedded(world) ? 600 : 300;
          return deadline > longest || deadline < SLOW_START_SECONDS;
        })
        .map(nameOf),
    breakIt: changing('Deployment', 'fededge-api', 'spec.progressDeadlineSeconds', undefined),
  },
  {
    name: 'never two servers on one embedded database, and never two devices with one key',
    violations: (world) =>
      ofKind(world, 'Deployment')
        .filter(
          ({ metadata }) => isEmbedded(world) || metadata.labels?.['app.kubernetes.io/component'] === 'agent',
        )
        .filter((object) => replicasOf(object) !== 1 || at(object, 'spec.strategy.type') !== 'Recreate')
        .map(nameOf),
    of: 'edge-k3s',
    breakIt: changing('Deployment', 'fededge-api', 'spec.strategy', { type: 'RollingUpdate' }),
  },
  {
    name: 'Jobs end, and say so',
    violations: (world) =>
      ofKind(world, 'Job', 'CronJob')
        .filter((object) => {
          const spec = at(object, object.kind === 'Job' ? 'spec' : 'spec.jobTemplate.spec');
          return !at(spec, 'activeDeadlineSeconds') || at(spec, 'template.spec.restartPolicy') !== 'Never';
        })
        .map(nameOf),
    breakIt: changing('CronJob', 'fededge-backup', 'spec.jobTemplate.spec.activeDeadlineSeconds', undefined),
  },
  {
    name: 'the migration comes before the pods, which do not migrate themselves',
    violations: (world) => {
      if (isEmbedded(world)) return [];
      const migrations = ofKind(world, 'Job').filter(({ metadata }) =>
        metadata.name.startsWith('fededge-migrate-'),
      );
      const hooks = migrations.filter(
        ({ metadata }) => metadata.annotations?.['argocd.argoproj.io/hook'] === 'PreSync',
      );
      const config = pick(world, 'ConfigMap', 'fededge-config').data as Record<string, string>;
      return [
        ...(hooks.length === 1 ? [] : ['not one PreSync migration']),
        ...(config.FEDEDGE_MIGRATE === 'off' ? [] : ['pods migrate']),
      ];
    },
    breakIt: changing('ConfigMap', 'fededge-config', 'data.FEDEDGE_MIGRATE', 'on'),
  },
  {
    name: 'every release file has a Job that names its content',
    violations: (world) =>
      world.environment.models.flatMap(({ name }) => {
        const jobs = ofKind(world, 'Job').filter(
          ({ metadata }) => metadata.labels?.['fededge.dev/model'] === name,
        );
        const args = at(jobs[0], 'spec.template.spec.containers.0.args') as string[] | undefined;
        const content = args?.[args.indexOf('--content') + 1];
        const label = jobs[0]?.metadata.labels?.['fededge.dev/content'];
        return jobs.length === 1 && label && content?.startsWith(label) ? [] : [name];
      }),
    breakIt: (world) => {
      const [job] = ofKind(world, 'Job').filter(({ metadata }) =>
        metadata.name.startsWith('fededge-release-'),
      );
      job!.metadata.labels!['fededge.dev/content'] = '0000000000';
    },
  },
  {
    name: 'the catalog has every release and every run',
    violations: (world) => {
      const data = pick(world, 'ConfigMap', 'fededge-catalog').data as { 'catalog.json': string };
      const { models, runs } = JSON.parse(data['catalog.json']) as Record<
        'models' | 'runs',
        { model: string; name?: string }[]
      >;
      const wanted = [
        ...world.environment.models.map(({ name }) => name),
        ...world.environment.runs.map(({ name }) => name),
      ];
      const there = [...models.map(({ model }) => model), ...runs.map(({ name }) => name)];
      return wanted.join() === there.join() ? [] : [there.join()];
    },
    breakIt: changing('ConfigMap', 'fededge-catalog', 'data', { 'catalog.json': '{"models":[],"runs":[]}' }),
  },
  {
    name: 'backups do not overlap, and are not missed for a late start',
    violations: (world) =>
      ofKind(world, 'CronJob')
        .filter(
          (object) =>
            at(object, 'spec.concurrencyPolicy') !== 'Forbid' ||
            !at(object, 'spec.startingDeadlineSeconds') ||
            !at(object, 'spec.timeZone'),
        )
        .map(nameOf),
    breakIt: changing('CronJob', 'fededge-backup', 'spec.concurrencyPolicy', 'Allow'),
  },
  {
    name: 'more than one API pod shares blobs and keys',
    violations: (world) => {
      const { blobs, api } = world.environment.settings;
      const isOne = api.replicas === 1 && !api.autoscaling && !hasKnative(world);
      const claim = ofKind(world, 'PersistentVolumeClaim').find(
        ({ metadata }) => metadata.name === 'fededge-data',
      );
      const modes = at(claim, 'spec.accessModes') as string[] | undefined;
      const keys = JSON.stringify(world.objects).includes('FEDEDGE_TOKEN_KEYS');
      return [
        ...(isOne || blobs.kind === 's3' || modes?.[0] === 'ReadWriteMany' ? [] : ['blobs']),
        ...(isOne || keys ? [] : ['keys']),
      ];
    },
    of: 'dev',
    breakIt: changing('PersistentVolumeClaim', 'fededge-data', 'spec.accessModes', ['ReadWriteOnce']),
  },
];
