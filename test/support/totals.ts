/**
 * Vitest reporter that ends the run with one plain line, `N passed, N failed, N skipped`, summed over all projects.
 *
 * - The line is the last thing on stdout: it is written when the process exits, after every teardown.
 * - It agrees with the exit code: a file that fails outside its tests and an error nobody caught each count as a
 *   failure, and a run in which no test passed or failed exits with 1.
 */
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

export type Totals = { passed: number; failed: number; skipped: number }

export class TotalsReporter implements Reporter {
  #totals: Totals = { passed: 0, failed: 0, skipped: 0 }

  onInit(): void {
    process.once('exit', () => {
      if (this.#totals.passed + this.#totals.failed === 0) process.exitCode = 1
      process.stdout.write(`\n${formatTotals(this.#totals)}\n`)
    })
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#totals = sum([...modules.map(countModule), { passed: 0, failed: unhandled.length, skipped: 0 }])
  }
}

export function formatTotals(totals: Totals): string {
  return `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`
}

export function sum(parts: readonly Totals[]): Totals {
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const part of parts) {
    total.passed += part.passed
    total.failed += part.failed
    total.skipped += part.skipped
  }
  return total
}

function countModule(module: TestModule): Totals {
  const totals = { passed: 0, failed: 0, skipped: 0 }
  for (const test of module.children.allTests()) {
    // A test that is still pending at the end of the run was cut off: it did not pass.
    const { state } = test.result()
    totals[state === 'pending' ? 'failed' : state] += 1
  }
  // A module that cannot be imported, or whose hooks fail, has no failed test to show for it.
  if (totals.failed === 0 && !module.ok()) totals.failed = 1
  return totals
}
