/**
 * Runs Vivarium and a peer alternately on this machine and compares the medians.
 *
 * - One side runs at a time, in a process of its own, on a database (or store) of its own that is dropped after it.
 * - The peer's one setting that depends on the machine is chosen first, by short rounds of the peer alone.
 * - Every round is printed, so that a reader sees the spread and not only its middle.
 */
import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { startEmbedded } from '../../server/store/embedded/embedded.ts'
import { median, round } from '../stage.ts'
import type { Plan, Round, SideName, Task } from './side.ts'

const ROUNDS = 4
/** The warm part compiles the code and fills the pools. */
const PLAN: Plan = { warmMs: 3_000, loneMs: 1_500, loadedMs: 4_000 }
const TUNING: Plan = { warmMs: 2_000, loneMs: 200, loadedMs: 3_000 }
/** Ms a round may take, starting and stopping included: ten times what it takes on a quiet machine. */
const ROUND_MS_MAX = 180_000

export type Contest = {
  readonly peer: SideName
  readonly packages: readonly string[]
  readonly tuned: { readonly what: string; readonly settings: readonly number[] }
}

export async function contest({ peer, packages, tuned }: Contest): Promise<{ metrics: Record<string, number> }> {
  needPackages(packages)
  const folder = await mkdtemp(join(tmpdir(), 'vivarium-bench-'))
  const server = await startEmbedded({ dataDir: folder })
  const sql = postgres({ ...server.connection, max: 1 })
  const runOne: RunOne = async (side, options) => {
    // What the side before left dirty is written now and not during this one.
    await sql`checkpoint`
    return runRound({ folder, side, ...options })
  }
  try {
    const setting = await tune(runOne, peer, tuned)
    return { metrics: { ...compare(await alternate(runOne, peer, setting)), setting } }
  } finally {
    await sql.end({ timeout: 1 })
    await server.release()
    await rm(folder, { recursive: true, force: true })
  }
}

type RunOne = (side: SideName, options: Pick<Task, 'round' | 'setting' | 'plan'>) => Promise<Round>

async function tune(runOne: RunOne, peer: SideName, { what, settings }: Contest['tuned']): Promise<number> {
  let best = { setting: Number.NaN, rate: 0 }
  for (const setting of settings) {
    const figures = await runOne(peer, { round: `t${setting}`, setting, plan: TUNING })
    const rate = figures.stepsPerSecond
    console.log(`tuning  ${line(peer, figures)}, ${setting} ${what}`)
    if (rate > best.rate) best = { setting, rate }
  }
  return best.setting
}

type Rounds = { readonly ours: Round[]; readonly fresh: Round[]; readonly theirs: Round[] }

async function alternate(runOne: RunOne, peer: SideName, setting: number): Promise<Rounds> {
  const found: Rounds = { ours: [], fresh: [], theirs: [] }
  for (let i = 1; i <= ROUNDS; i++) {
    for (const [side, into] of [
      ['vivarium', found.ours],
      [peer, found.theirs],
      ['vivarium-new', found.fresh],
    ] as const) {
      const figures = await runOne(side, { round: `r${i}`, setting, plan: PLAN })
      into.push(figures)
      console.log(`round ${i} ${line(side, figures)}`)
    }
  }
  return found
}

async function runRound(task: Task): Promise<Round> {
  const path = fileURLToPath(new URL('./child.ts', import.meta.url))
  const child = fork(path, [JSON.stringify(task)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const { promise, resolve, reject } = Promise.withResolvers<Round>()
  let figures: Round | null = null
  child.once('message', (message) => {
    figures = message as Round // sent by child.ts
  })
  child.once('error', reject)
  child.once('exit', (code, signal) => {
    if (figures !== null && code === 0) resolve(figures)
    else reject(new Error(`The process of ${task.side} ended with ${signal ?? code} and no figures.`))
  })
  // The child ends its servers when its parent lets go of it.
  const timer = setTimeout(() => child.disconnect(), ROUND_MS_MAX)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}

function compare({ ours, fresh, theirs }: Rounds): Record<string, number> {
  const [mine, other] = [median(rates(ours)), median(rates(theirs))]
  const [lone, otherLone] = [median(lones(ours)), median(lones(theirs))]
  return {
    ratio: round(mine / other, 1),
    ours: round(mine),
    theirs: round(other),
    oursNewAgents: round(median(rates(fresh))),
    ratioNewAgents: round(median(rates(fresh)) / other, 1),
    loneRatio: round(otherLone / lone, 2),
    oursLoneStepMs: round(lone, 3),
    theirsLoneStepMs: round(otherLone, 3),
    oursNewAgentsLoneStepMs: round(median(lones(fresh)), 3),
  }
}

function rates(found: readonly Round[]): number[] {
  return found.map(({ stepsPerSecond }) => stepsPerSecond)
}

function lones(found: readonly Round[]): number[] {
  return found.map(({ loneStepMs }) => loneStepMs)
}

function line(side: SideName, { stepsPerSecond, loneStepMs, nodeCores }: Round): string {
  const figures = `${round(stepsPerSecond)} steps/s, lone step ${round(loneStepMs, 3)} ms`
  return `${side.padEnd(12)} ${figures}, ${round(nodeCores, 2)} cores of Node`
}

/** The peers are in a package of their own, installed by whoever wants to compare. */
function needPackages(packages: readonly string[]): void {
  const missing = packages.filter((name) => !existsSync(new URL(`../node_modules/${name}`, import.meta.url)))
  if (missing.length === 0) return
  console.error(`The peer is not installed (${missing.join(', ')}). Run: npm ci --prefix bench`)
  process.exit(2)
}
