import { describe, expect, test } from 'vitest';
import { containers } from './policies/containers.ts';
import { network } from './policies/network.ts';
import { objects } from './policies/objects.ts';
import { podSecurity } from './policies/pod-security.ts';
import { references } from './policies/references.ts';
import { workloads } from './policies/workloads.ts';
import { worldOf, worlds } from './support/worlds.ts';

const policies = [...podSecurity, ...containers, ...references, ...objects, ...workloads, ...network];

describe.each(worlds.map((world) => [world.name, world] as const))('%s', (_, world) => {
  test.each(policies.map((policy) => [policy.name, policy] as const))('%s', (_, policy) => {
    expect(policy.violations(world)).toEqual([]);
  });
});

describe('a policy is able to fail', () => {
  test.each(policies.map((policy) => [policy.name, policy] as const))('%s', (_, policy) => {
    const { name, environment, objects } = worldOf(policy.of ?? 'production');
    const broken = { name, environment, objects: structuredClone(objects) };
    policy.breakIt(broken);

    expect(policy.violations(broken)).not.toEqual([]);
  });
});
