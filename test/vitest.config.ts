/**
 * Five projects, one after the other, because some of them measure time on a machine with two cores:
 * `unit` (never starts Postgres), `pg`, `timed` (whatever asserts how long something takes), `browser`,
 * `crash` (short form; CRASH_LONG=1 for the long one).
 */
import { fileURLToPath } from 'node:url'
import { defaultServerConditions } from 'vite'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { TotalsReporter } from './support/totals.ts'

// `import ... from 'vivarium'` means the sources here, in the test files and in the threads and children they start.
const SOURCE_CONDITION = 'vivarium-source'
const conditions = [SOURCE_CONDITION, ...defaultServerConditions]

type Options = {
  include: string[]
  exclude?: string[]
  globalSetup?: string[]
  timeoutMs: number
  /** Ms a poll goes on: short where objects answer, long where whole programs do. */
  pollMs: number
  parallel: boolean
}

export const PROJECTS: Record<string, Options> = {
  unit: {
    include: [
      'test/unit/**/*.test.ts',
      'test/contract/**/*.memory.test.ts',
      'test/sim/**/*.test.ts',
      'test/tidy.test.ts',
    ],
    timeoutMs: 5_000,
    pollMs: 1_000,
    parallel: true,
  },
  pg: {
    include: [
      'test/pg/**/*.test.ts',
      'test/contract/**/*.test.ts',
      'test/scenario/**/*.test.ts',
      'test/peer/**/*.test.ts',
    ],
    exclude: ['test/contract/**/*.memory.test.ts'],
    globalSetup: ['test/support/postgres.ts'],
    timeoutMs: 30_000,
    pollMs: 1_000,
    parallel: true,
  },
  timed: {
    include: ['test/timed/**/*.test.ts'],
    globalSetup: ['test/support/postgres.ts'],
    timeoutMs: 30_000,
    pollMs: 10_000,
    parallel: false,
  },
  browser: {
    include: ['test/browser/**/*.test.ts'],
    globalSetup: ['test/support/web-build.ts', 'test/support/postgres.ts'],
    timeoutMs: 60_000,
    pollMs: 10_000,
    parallel: false,
  },
  crash: {
    include: ['test/crash/**/*.test.ts', 'test/random/**/*.test.ts'],
    // The long form kills at least a hundred times in one test.
    timeoutMs: process.env.CRASH_LONG === '1' ? 3_600_000 : 600_000,
    pollMs: 10_000,
    // Each file has a server of its own, and all of them mostly wait for leases: two use half of two cores.
    parallel: true,
  },
}

/** Files at a time. The default on two cores is one, but tests that start servers mostly wait. */
const PARALLEL = 2

function project(name: string, options: Options, order: number): TestProjectInlineConfiguration {
  return {
    extends: true,
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name,
      environment: 'node',
      include: options.include,
      exclude: options.exclude ?? [],
      globalSetup: options.globalSetup ?? [],
      testTimeout: options.timeoutMs,
      hookTimeout: options.timeoutMs,
      fileParallelism: options.parallel,
      maxWorkers: options.parallel ? PARALLEL : 1,
      execArgv: [`--conditions=${SOURCE_CONDITION}`],
      sequence: { groupOrder: order },
      expect: { poll: { timeout: options.pollMs } },
    },
  }
}

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    reporters: ['default', new TotalsReporter()],
    allowOnly: false,
    projects: Object.entries(PROJECTS).map(([name, options], order) => project(name, options, order)),
  },
})
