/** Sums over many seeds, in words. */
import type { Report } from './simulation.ts'

const SUMMED = [
  'nodes',
  'deaths',
  'requests',
  'turns',
  'steps',
  'replays',
  'claims',
  'snapshots',
  'statements',
] as const

export class Summary {
  seeds = 0
  readonly failed: Report[] = []
  readonly #sums = new Map<string, number>()
  readonly #faults = new Map<string, number>()
  readonly #began = performance.now()

  add(report: Report): void {
    this.seeds += 1
    if (report.violations.length > 0) this.failed.push(report)
    for (const what of SUMMED) add(this.#sums, what, report[what])
    for (const [what, n] of report.faults) add(this.#faults, what, n)
    add(this.#sums, 'minutes', report.virtualMs / 60_000)
  }

  failure({ seed, violations }: Report): string {
    return `seed ${seed} failed (npm run sim -- --seed ${seed}):\n  ${violations.join('\n  ')}`
  }

  text(): string {
    const seconds = (performance.now() - this.#began) / 1_000
    const sums = [...this.#sums].map(([what, n]) => `${Math.round(n)} ${what}`).join(', ')
    const faults = [...this.#faults].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, n]) => `${n} ${what}`)
    const verdict = this.failed.length === 0 ? 'all clean' : `${this.failed.length} failed`
    return [
      `${this.seeds} seeds, ${verdict}, in ${seconds.toFixed(1)} s`,
      `  ${sums} of virtual time`,
      `  faults: ${faults.join(', ') || 'none'}`,
      ...this.failed.map((report) => this.failure(report)),
    ].join('\n')
  }
}

function add(sums: Map<string, number>, what: string, n: number): void {
  sums.set(what, (sums.get(what) ?? 0) + n)
}
