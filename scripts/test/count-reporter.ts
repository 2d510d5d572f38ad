import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export interface Counts {
  passed: number;
  failed: number;
  /** Names, with the reason that the test gave. */
  skipped: string[];
  /** Names of tests that failed at first, and passed when they were tried again. */
  repeated?: string[];
}

/** Writes the counts of a run as JSON to the file that FEDEDGE_TEST_COUNTS names. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const file = process.env.FEDEDGE_TEST_COUNTS;
    if (file) writeFileSync(file, JSON.stringify(countTests(modules, unhandledErrors.length)));
  }
}

function countTests(modules: readonly TestModule[], unhandled: number): Counts {
  const repeated: string[] = [];
  const counts: Counts = { passed: 0, failed: unhandled, skipped: [], repeated };
  for (const module of modules) {
    // A file that cannot be loaded has no tests: it counts as one that failed. So does a hook.
    counts.failed += module.errors().length;
    for (const suite of module.children.allSuites()) counts.failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (test.diagnostic()?.flaky) repeated.push(`${module.relativeModuleId}: ${test.fullName}`);
      if (result.state === 'passed') counts.passed += 1;
      else if (result.state === 'failed') counts.failed += 1;
      else {
        const reason = (result.state === 'skipped' && result.note) || 'no reason given';
        counts.skipped.push(`${module.relativeModuleId}: ${test.fullName} (${reason})`);
      }
    }
  }
  return counts;
}
