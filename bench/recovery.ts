/**
 * Bench `recovery`: kill -9 with 10,000 turns in flight, and how long a new start takes until all of them ended.
 *
 * Measures: from the start of the second process to the commit of the last open turn: boot, proof of death of the first
 * node, claims, loads, replay, the rest of each turn.
 * Leaves out: detection of a node that died on another machine (a lease).
 * Checked from SQL: every accepted turn has exactly one end, and every agent counted exactly once.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { startEmbedded } from '../server/store/embedded/embedded.ts'
import { round } from './stage.ts'

const TURNS = 10_000
/** Ms until the bench gives up. */
const PATIENCE_MS = 120_000

export async function run() {
  const data = await mkdtemp(join(tmpdir(), 'vivarium-bench-'))
  const server = await startEmbedded({ dataDir: data })
  const sql = postgres({ ...server.connection, max: 1 })
  try {
    const first = child(data, 'begin')
    await until(sql, TURNS, 'accepted')
    first.kill('SIGKILL')
    await once(first, 'exit')
    const startedAt = performance.now()
    const second = child(data, 'go')
    await until(sql, TURNS, 'end')
    const resumeMs = performance.now() - startedAt
    second.kill('SIGTERM')
    await once(second, 'exit')
    const [row] = await sql<{ ended: number; doubled: number }[]>`
      with ends as (select process, ${entries(sql, 'end')} as n from vivarium.journal group by process)
      select count(*) filter (where n >= 1)::int as ended, count(*) filter (where n > 1)::int as doubled from ends`
    const metrics = { resumeMs: round(resumeMs), lost: TURNS - (row?.ended ?? 0), doubled: row?.doubled ?? 0 }
    if (metrics.lost !== 0 || metrics.doubled !== 0) throw new Error(`Not exactly once: ${JSON.stringify(metrics)}`)
    return { metrics }
  } finally {
    await sql.end({ timeout: 1 })
    await server.release()
    await rm(data, { recursive: true, force: true })
  }
}

function child(data: string, gate: 'begin' | 'go') {
  const path = fileURLToPath(new URL('./recovery-child.ts', import.meta.url))
  const node = spawn(process.execPath, ['--conditions=vivarium-source', path, data, gate, String(TURNS)])
  node.stderr.pipe(process.stderr)
  return node
}

function entries(sql: postgres.Sql, kind: string) {
  const mark = `"k":"${kind}"`
  return sql`sum((length(payload) - length(replace(payload, ${mark}, ''))) / ${mark.length}::int)`
}

async function until(sql: postgres.Sql, count: number, kind: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const [row] = await sql<{ there: boolean; n: number }[]>`
      select to_regclass('vivarium.journal') is not null as there, 0 as n`
    if (row?.there === true) {
      const [found] = await sql<
        { n: number }[]
      >`select coalesce(${entries(sql, kind)}, 0)::int as n from vivarium.journal`
      if ((found?.n ?? 0) >= count) return
    }
    if (performance.now() > deadline) throw new Error(`Not ${count} ${kind} entries within ${PATIENCE_MS} ms.`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
