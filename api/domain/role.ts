/**
 * Who may do what. `viewer` reads; `operator` manages the federation; `releaser` reads and publishes releases;
 * `device` acts for itself.
 */
export const roles = ['viewer', 'operator', 'releaser'] as const;
export type Role = (typeof roles)[number];

/**
 * What an operation demands: anybody, a device (active or pending), an operator of at least that role, or a `member`:
 * any authenticated principal of the federation, device or operator (models and their weights are read by both).
 */
export type Policy = 'public' | 'device' | 'member' | Role;

const grants: Record<Role, readonly Role[]> = {
  viewer: ['viewer'],
  releaser: ['viewer', 'releaser'],
  operator: ['viewer', 'operator'],
};

/** True if a principal with `role` may call an operation that demands `demanded`. */
export function grantsRole(role: Role, demanded: Role): boolean {
  return grants[role].includes(demanded);
}

/** The authenticated caller. Every query is scoped by `federationId`. */
export type Principal =
  | { kind: 'operator'; id: string; federationId: string; role: Role }
  | { kind: 'device'; id: string; federationId: string; thumbprint: string };

export type DevicePrincipal = Extract<Principal, { kind: 'device' }>;
export type OperatorPrincipal = Extract<Principal, { kind: 'operator' }>;
