/**
 * Weights as artifacts of an OCI registry (Harbor, GHCR, ECR, Debian's docker-registry ...): push, and pull by digest.
 * OCI distribution specification 1.1, by plain `fetch`.
 */
export type { Credentials } from './authentication.ts';
export { formatReference, parseReference } from './reference.ts';
export type { RegistryOptions } from './registry.ts';
export { RegistryError } from './registry-error.ts';
export {
  CONFIG_TYPE,
  pullWeights,
  pushWeights,
  WEIGHTS_TYPE,
} from './weights.ts';
