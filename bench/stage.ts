/** What the durable benches share: a runtime on a fresh embedded database, and SQL beside it for the checks. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { createRuntime, type Runtime, type RuntimeOptions } from '../server/index.ts'
import { startEmbedded } from '../server/store/embedded/embedded.ts'

export type Stage = { runtime: Runtime; sql: postgres.Sql; data: string; end(): Promise<void> }

export async function openStage(options: RuntimeOptions): Promise<Stage> {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-bench-'))
  const server = await startEmbedded({ dataDir: data })
  const runtime = await createRuntime({ ...options, data })
  const sql = postgres({ ...server.connection, max: 1 })
  return {
    runtime,
    sql,
    data,
    end: async () => {
      await runtime.stop()
      await sql.end({ timeout: 1 })
      await server.release()
      await rm(data, { recursive: true, force: true })
    },
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function round(value: number, digits = 0): number {
  return Math.round(value * 10 ** digits) / 10 ** digits
}

/** Runs `work` in `lanes` endless lanes for `ms`; returns how often it ran and how long the window really was. */
export async function forMs(
  ms: number,
  lanes: number,
  work: (lane: number) => Promise<unknown>,
): Promise<{ count: number; ms: number }> {
  let count = 0
  const startedAt = performance.now()
  const until = startedAt + ms
  const lane = async (n: number): Promise<void> => {
    while (performance.now() < until) {
      await work(n)
      count += 1
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, n) => lane(n)))
  return { count, ms: performance.now() - startedAt }
}
