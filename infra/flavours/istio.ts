import type {
  IAuthorizationPolicy,
  IPeerAuthentication,
  IRequestAuthentication,
} from '@kubernetes-models/istio/security.istio.io/v1';
import type { Environment } from '../environment.ts';
import { type Chart, k8s } from '../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../names.ts';
import { addObject } from './typed-object.ts';

type Rules = NonNullable<NonNullable<IAuthorizationPolicy['spec']>['rules']>;
type JwtRule = NonNullable<NonNullable<IRequestAuthentication['spec']>['jwtRules']>[number];

/** What anybody may ask: who wants to get in, and who wants to know how. */
const open: Rules = [
  { to: [{ operation: { methods: ['POST'], paths: ['/v1/devices', '/v1/token'] } }] },
  {
    to: [
      {
        operation: {
          methods: ['GET'],
          paths: ['/livez', '/readyz', '/.well-known/*', '/openapi.json', '/docs', '/docs/*'],
        },
      },
    ],
  },
];

/**
 * Istio before the API: mutual TLS between all pods, nothing allowed that is not named, and a device's token checked
 * before the API sees it. The mesh's CNI plugin has to be installed: the namespace's Pod Security lets no pod set up its
 * own network.
 */
export function istio(chart: Chart, environment: Environment): void {
  const { flavours, publicUrl, network } = environment.settings;
  if (!flavours.istio) return;
  const jwtRules = [deviceTokens(publicUrl), ...operatorTokens(environment)];
  const selector = { matchLabels: selectorOf('api') };
  const labels = labelsOf(environment);
  const strict: IPeerAuthentication = {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default', labels },
    spec: { mtls: { mode: 'STRICT' } },
  };
  const tokens: IRequestAuthentication = {
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name: names.api, labels },
    spec: { selector, jwtRules },
  };
  addObject(chart, strict);
  addObject(chart, tokens);
  addObject(chart, policy(environment, 'deny-all', {}));
  addObject(chart, policy(environment, 'api-open', { selector, rules: open }));
  addObject(
    chart,
    // RequestAuthentication alone lets a request without any token through.
    policy(environment, 'api-tokens', {
      selector,
      rules: [
        {
          from: [{ source: { requestPrincipals: jwtRules.map(({ issuer }) => `${issuer}/*`) } }],
          to: [{ operation: { paths: ['/v1/*'] } }],
        },
      ],
    }),
  );
  addObject(chart, policy(environment, 'api-operator-keys', { selector, rules: operatorKeys }));
  if (network.monitoring !== undefined) addObject(chart, metrics(environment, network.monitoring));
  addPolicy(chart, environment);
}

/**
 * Envoy takes everything after `Bearer ` for a token and refuses what is none. It looks at the letters' case, HTTP does
 * not (RFC 9110, section 11.1): with `bearer ` an operator's key passes, and the API checks it.
 */
const operatorKeys: Rules = [
  {
    to: [{ operation: { paths: ['/v1/*'] } }],
    when: [{ key: 'request.headers[authorization]', values: ['bearer fedop_*'] }],
  },
];

/** The keys are fetched by the public URL: the mesh's control plane is outside the mesh and cannot call the Service. */
function deviceTokens(publicUrl: string): JwtRule & { issuer: string } {
  return {
    issuer: publicUrl,
    audiences: [publicUrl],
    jwksUri: `${publicUrl}/.well-known/jwks.json`,
    // The API looks at it once more.
    forwardOriginalToken: true,
  };
}

/** Operators' issuers, as far as the settings name them (a file is not read here). */
function operatorTokens({ settings }: Environment): (JwtRule & { issuer: string })[] {
  const text = settings.variables?.FEDEDGE_OIDC_ISSUERS ?? '[]';
  if (!text.trimStart().startsWith('[')) return [];
  const issuers = JSON.parse(text) as { issuer: string; audience: string; jwksUri?: string }[];
  return issuers.map(({ issuer, audience, jwksUri }) => ({
    issuer,
    audiences: [audience],
    ...(jwksUri !== undefined && { jwksUri }),
    forwardOriginalToken: true,
  }));
}

/** Prometheus, in the mesh with certificates of its own. */
function metrics(environment: Environment, namespace: string): IAuthorizationPolicy {
  return policy(environment, 'metrics', {
    rules: [
      {
        from: [{ source: { namespaces: [namespace] } }],
        to: [{ operation: { methods: ['GET'], paths: ['/metrics'] } }],
      },
    ],
  });
}

function policy(
  environment: Environment,
  name: string,
  spec: NonNullable<IAuthorizationPolicy['spec']>,
): IAuthorizationPolicy {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, labels: labelsOf(environment) },
    spec,
  };
}

/** Every sidecar gets its certificate and its orders from the control plane. */
function addPolicy(chart: Chart, environment: Environment): void {
  new k8s.KubeNetworkPolicy(chart, 'policy', {
    metadata: { name: 'istio', labels: labelsOf(environment) },
    spec: {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        {
          to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'istio-system' } } }],
          ports: [{ port: k8s.IntOrString.fromNumber(15_012) }],
        },
      ],
    },
  });
}
