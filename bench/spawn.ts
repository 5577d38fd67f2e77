/**
 * Bench `spawn`: births per second of ephemeral agents in a pool, and what an idle one costs in memory.
 *
 * Measures: `Pool.start` with a key of its own each, init included, counters and event bus attached; then the heap
 * after a full collection, divided by the processes alive: id, table entries, counters, child record, state {n: 0}.
 * `bytesPerUsedProcess` is the same after each has handled one message, so that it has a mailbox and a context.
 * `durableSpawnsPerSecond`: keys of a durable agent that were never seen before, from first message to stored answer
 * (row made, claimed, loaded, first turn committed), 500 callers at once.
 * Needs `--expose-gc`, or it asks the engine for it.
 * Checked: every process is alive and handled its message; the durable ones are rows.
 */
import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { agent, pool } from '../server/index.ts'
import { EphemeralBehaviour } from '../server/kernel/ephemeral.ts'
import type { Kernel } from '../server/kernel/kernel.ts'
import { type Pool, poolOf, poolProcess } from '../server/kernel/pool.ts'
import { benchKernel } from './call.ts'
import { forMs, openStage } from './stage.ts'

const PROCESSES = 200_000
const ROUNDS = 5
const WARM_ROUNDS = 1
const DURABLE_MS = 4_000
const DURABLE_CALLERS = 500

type Rounds = { spawnsPerSecond: number; bytesPerProcess: number; bytesPerUsedProcess: number }
export type Metrics = Rounds & { durableSpawnsPerSecond: number }

export async function run(): Promise<{ metrics: Metrics }> {
  const collect = collector()
  const keys = Array.from({ length: PROCESSES }, (_, i) => `k${i}`)
  const rounds: Rounds[] = []
  for (let round = 0; round < ROUNDS; round++) rounds.push(await measure(keys, collect))
  const median = (pick: (metrics: Rounds) => number): number => {
    const sorted = rounds
      .slice(WARM_ROUNDS)
      .map(pick)
      .sort((a, b) => a - b)
    return Math.round(sorted[sorted.length >> 1] ?? 0)
  }
  return {
    metrics: {
      spawnsPerSecond: median((round) => round.spawnsPerSecond),
      bytesPerProcess: median((round) => round.bytesPerProcess),
      bytesPerUsedProcess: median((round) => round.bytesPerUsedProcess),
      durableSpawnsPerSecond: await durableSpawns(),
    },
  }
}

async function measure(keys: readonly string[], collect: () => Promise<number>): Promise<Rounds> {
  const { kernel, pool } = nursery()
  const before = await collect()
  const start = performance.now()
  for (const key of keys) pool.start(key)
  const spawnsPerSecond = PROCESSES / ((performance.now() - start) / 1_000)
  const idle = await collect()
  for (const key of keys) kernel.send(`w/${key}`, 'up', null)
  while (answered(kernel) < PROCESSES) await new Promise((resolve) => setImmediate(resolve))
  const used = await collect()
  if (kernel.size !== PROCESSES + 1) throw new Error(`${kernel.size} processes are left.`) // also keeps them until here
  return {
    spawnsPerSecond,
    bytesPerProcess: (idle - before) / PROCESSES,
    bytesPerUsedProcess: (used - before) / PROCESSES,
  }
}

function nursery(): { kernel: Kernel; pool: Pool } {
  const kernel = benchKernel()
  const up = (ctx: unknown): number => {
    const { state } = ctx as { state: { n: number } } // made by `init` below
    state.n += 1
    return state.n
  }
  const behaviour = new EphemeralBehaviour(
    {
      ...{ name: 'w', version: 1, durable: false, mailboxLimit: 1_000, queries: new Map(), activated: null },
      ...{ terminate: null, onExit: null, onDown: null, handlers: new Map([['up', up]]), init: () => ({ n: 0 }) },
    },
    (process) => process,
  )
  const root = kernel.spawn({ ...poolProcess(kernel, { id: 'pool/w', agent: 'w', behaviour }), parent: null })
  const pool = poolOf(root)
  if (pool === null) throw new Error('The pool did not start.')
  return { kernel, pool }
}

function answered(kernel: Kernel): number {
  let count = 0
  for (const process of kernel.all()) if (process.alive && process.stats.turns === 1) count += 1
  return count
}

/** Bytes on the heap after a full garbage collection, once whatever was under way has settled. */
function collector(): () => Promise<number> {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void // the flag above puts it there
  return async () => {
    for (let i = 0; i < 2; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      gc()
    }
    return process.memoryUsage().heapUsed
  }
}

const note = agent('note', {
  state: () => ({ n: 0 }),
  on: {
    touch(ctx) {
      ctx.state.n += 1
      return ctx.state.n
    },
  },
})

async function durableSpawns(): Promise<number> {
  const stage = await openStage({ root: pool(note) })
  try {
    let made = 0
    const { count, ms } = await forMs(DURABLE_MS, DURABLE_CALLERS, () =>
      stage.runtime.ref(note, `n${made++}`).touch().run(),
    )
    const [row] = await stage.sql<
      { n: number }[]
    >`select count(*)::int as n from vivarium.processes where agent = 'note'`
    if (row?.n !== count) throw new Error(`Made ${count} durable processes; the table has ${row?.n}.`)
    return Math.round(count / (ms / 1_000))
  } finally {
    await stage.end()
  }
}
