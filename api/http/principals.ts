import type { Principal } from '../domain/role.ts';

/** The caller of an operation whose policy is `device`, which lets nobody else in. */
export function asDevice(principal: Principal): Extract<Principal, { kind: 'device' }> {
  if (principal.kind !== 'device') throw new Error('the policy let an operator into a device operation');
  return principal;
}
