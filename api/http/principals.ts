import type { DevicePrincipal, Principal } from '../domain/role.ts';

/** The caller of an operation whose policy is `device`, which lets nobody else in. */
export function asDevice(principal: Principal): DevicePrincipal {
  if (principal.kind !== 'device') throw new Error('the policy let an operator into a device operation');
  return principal;
}
