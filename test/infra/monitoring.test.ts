import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { createMetrics } from '../../api/metrics/metrics.ts';

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

const folder = join(import.meta.dirname, '../../infra/observability');
const { groups } = parse(readFileSync(join(folder, 'rules.yaml'), 'utf8')) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readFileSync(join(folder, 'dashboard.json'), 'utf8')) as {
  panels: { id: number; title: string; targets?: { expr: string }[] }[];
};
const panelQueries = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ name: `panel ${title}`, expr })),
);
const queries = [
  ...rules.map((rule) => ({ name: rule.alert ?? rule.record!, expr: rule.expr })),
  ...panelQueries,
];

/** Names of series that our processes give, and their labels. */
const metrics = await createMetrics({ version: 'test', role: 'server' }).registry.getMetricsAsJSON();
const own = new Set(
  metrics.flatMap(({ name, type }) =>
    String(type) === 'histogram' ? [`${name}_bucket`, `${name}_count`, `${name}_sum`] : [name],
  ),
);
const recorded = new Set(rules.flatMap(({ record }) => (record ? [record] : [])));
/** Series of the kubelet and of kube-state-metrics. */
const foreign = /^(kubelet_volume_stats|kube_cronjob_status)_/;
const series = /\b(?:fededge|kubelet|kube|process|nodejs)[a-z0-9]*[_:][a-z0-9_:]+/g;

describe('alerts and dashboard', () => {
  test.each(queries)('$name asks for series that there are', ({ expr }) => {
    const asked = [...expr.replaceAll(/"[^"]*"/g, '""').matchAll(series)].map(([name]) => name);

    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((name) => !own.has(name) && !recorded.has(name) && !foreign.test(name))).toEqual([]);
  });

  test.each(queries)('$name has its brackets in pairs', ({ expr }) => {
    const open: string[] = [];
    const pairs: Record<string, string> = { ')': '(', ']': '[', '}': '{' };
    for (const sign of expr.replaceAll(/"[^"]*"/g, '').replaceAll(/[^()[\]{}]/g, '')) {
      if (sign in pairs) expect(open.pop()).toBe(pairs[sign]);
      else open.push(sign);
    }
    expect(open).toEqual([]);
  });

  test.each(rules.filter(({ alert }) => alert))(
    '$alert says whom it calls, and what is the matter',
    (rule) => {
      expect(['page', 'ticket']).toContain(rule.labels?.severity);
      expect(rule.annotations?.summary).toMatch(/\w{3}/);
      expect(rule.annotations?.description).toMatch(/\w{3}/);
    },
  );

  test('watch objective, rounds, leases, updates and disks', () => {
    const names = rules.map(({ alert }) => alert);

    for (const name of [
      'ErrorBudgetBurnsFast',
      'ErrorBudgetBurns',
      'RoundStuck',
      'LeaseOld',
      'UpdatesRejected',
      'DiskFills',
    ]) {
      expect(names).toContain(`FedEdge${name}`);
    }
  });

  test('have names once', () => {
    const names = rules.map(({ alert, record }) => alert ?? record);
    const ids = dashboard.panels.map(({ id }) => id);

    expect(new Set(names).size).toBe(names.length);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
