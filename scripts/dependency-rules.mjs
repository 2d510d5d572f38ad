/**
 * Who may import what: domain <- store <- services <- http <- roots. What is not forbidden here is
 * allowed; each rule says what it keeps true.
 */
import { fileURLToPath } from 'node:url';

const layer = (name) => `^api/${name}/`;
/** The roots' own files; `config`, `deps` and what they declare may be named by every layer above domain. */
const roots = '^api/(?!config\\.ts$|deps\\.ts$)[^/]+\\.ts$';

/** What clients share with the server. */
const shared = ['^api/domain/(tensors|ml|manifest)\\.ts$', layer('ml')];

const only = (name, comment, packages, folders) => ({
  name,
  comment,
  severity: 'error',
  from: { path: '^(api|clients|infra)/', pathNot: folders },
  to: { path: `node_modules/(${packages.join('|')})/` },
});

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'A circle of modules can only be understood and tested as a whole.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'domain-is-pure',
      comment: 'The rules of federated learning depend on nothing: no package, no node:, no other folder.',
      severity: 'error',
      from: { path: layer('domain') },
      to: { pathNot: layer('domain') },
    },
    {
      name: 'store-knows-domain-alone',
      comment: 'The store keeps facts; it decides nothing.',
      severity: 'error',
      from: { path: layer('store') },
      to: { path: '^api/', pathNot: [layer('store'), layer('domain')] },
    },
    {
      name: 'kernels-and-ml-implement-domain',
      comment: 'What computes knows neither a database nor HTTP.',
      severity: 'error',
      from: { path: '^api/(kernels|ml)/' },
      to: { path: '^api/', pathNot: ['^api/(kernels|ml)/', layer('domain')] },
    },
    {
      name: 'services-do-not-know-http',
      comment: 'A story is the same whoever tells it.',
      severity: 'error',
      from: { path: layer('services') },
      to: { path: [layer('http'), roots] },
    },
    {
      name: 'http-does-not-know-the-roots',
      comment: 'An app is made for whatever dependencies it is given.',
      severity: 'error',
      from: { path: layer('http') },
      to: { path: roots },
    },
    only(
      'drizzle-and-postgres-in-store',
      'Queries have names, and live in one place.',
      ['drizzle-orm', 'postgres', 'aws4fetch'],
      [layer('store')],
    ),
    only('hono-in-http', 'One folder speaks HTTP.', ['hono', '@hono/[^/]+'], [layer('http')]),
    only(
      'tensorflow-in-ml',
      'One folder speaks to the machine-learning runtime.',
      ['@tensorflow/[^/]+'],
      [layer('ml')],
    ),
    {
      name: 'clients-speak-http',
      comment:
        'A client has the contract; of the server it shares the tensor codec and the training code alone.',
      severity: 'error',
      from: { path: '^clients/', pathNot: '^clients/cli/' },
      to: { path: '^(api|infra|scripts|test)/', pathNot: shared },
    },
    {
      name: 'the-command-knows-release-files',
      comment: 'It speaks HTTP as every client, and writes files of infra/environments by their own rules.',
      severity: 'error',
      from: { path: '^clients/cli/' },
      to: {
        path: '^(api|infra|scripts|test)/',
        pathNot: [...shared, '^infra/catalog/release-file\\.ts$'],
      },
    },
    {
      name: 'infra-and-acceptance-stand-apart',
      comment: 'Manifests and black-box tests hold for any implementation of the contract.',
      severity: 'error',
      from: { path: '^(infra|test/acceptance|test/support/acceptance)/' },
      to: { path: '^api/' },
    },
    {
      name: 'what-ships-does-not-need-what-builds',
      comment: 'The server runs on an installation without development packages, scripts and tests.',
      severity: 'error',
      from: { path: '^api/' },
      to: { path: '^(scripts|test|clients|infra)/' },
    },
    {
      name: 'no-development-packages-in-the-server',
      comment: 'npm ci --omit=dev has to be enough for it.',
      severity: 'error',
      from: { path: '^api/' },
      to: {
        dependencyTypes: ['npm-dev'],
        dependencyTypesNot: ['type-only'],
        pathNot: 'node_modules/@types/',
      },
    },
    {
      name: 'nothing-that-is-not-there',
      comment:
        'A package has to be named in package.json, a file has to exist (an addon outside has its own).',
      severity: 'error',
      from: { pathNot: '^api/ml/backend-native\\.ts$' },
      to: {
        couldNotResolve: true,
        dependencyTypes: ['unknown', 'undetermined', 'npm-no-pkg', 'npm-unknown'],
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['^clients/.*/generated/', '^api/kernels/assembly/', '^(clients|infra)/.*/dist/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: fileURLToPath(new URL('tsconfig.json', import.meta.url)) },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
    cache: false,
  },
};
