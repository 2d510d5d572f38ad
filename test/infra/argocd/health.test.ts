import { describe, expect, test } from 'vitest';
import { healthConfiguration, readHealthChecks } from '../../../infra/argocd/health.ts';
import { healthExamples } from './health-examples.ts';
import { runHealthCheck } from './lua.ts';

const checks = await readHealthChecks();

test('every health check has examples, and every example a check', () => {
  expect(Object.keys(healthExamples).sort()).toEqual([...checks.keys()].sort());
});

describe.each(Object.entries(healthExamples))('%s', (kind, examples) => {
  test.each(examples)('$is is $status', async ({ object, status, says = '' }) => {
    const health = await runHealthCheck(checks.get(kind)!, { metadata: {}, ...object });
    expect(health).toEqual({ status, message: expect.stringContaining(says) });
  });

  test('the examples show it in its good, its bad and its middle state', () => {
    const states = new Set(examples.map(({ status }) => status));
    // KubeEdge does not say that something failed.
    const bad = kind === 'apps.kubeedge.io_EdgeApplication' ? [] : ['Degraded'];
    expect([...states]).toEqual(expect.arrayContaining(['Healthy', 'Progressing', ...bad]));
  });
});

test('the checks are Lua 5.1: nothing that later versions brought', () => {
  for (const [kind, text] of checks) {
    const code = text.replace(/--.*$/gm, '').replace(/"[^"]*"/g, '""');
    expect(code, kind).not.toMatch(
      /\bgoto\b|::|\/\/|<const>|<close>|[&|~](?!=)|<<|>>|\b(utf8|math|string|io)\./,
    );
  }
});

test('Argo CD finds each of them by the key that it looks for', () => {
  const { data } = healthConfiguration(checks, 'argocd') as { data: Record<string, string> };
  expect(data['resource.customizations.health.batch_Job']).toBe(checks.get('batch_Job'));
  expect(Object.keys(data)).toHaveLength(checks.size);
  for (const key of Object.keys(data)) expect(key).toMatch(/^resource\.customizations\.health\.[\w.-]+_\w+$/);
});
