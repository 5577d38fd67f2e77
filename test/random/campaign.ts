/**
 * Rounds until enough programs were killed while they ran: `npm run random`, and its short form among the crash tests.
 *
 * - Rounds differ in the number of kills. What was in hand at two deaths runs one at a time (P2), so rounds with many
 *   kills are smaller.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedPostgres, startEmbedded, stopEmbedded } from '../../server/store/embedded/embedded.ts'
import { Chance } from '../crash/chance.ts'
import type { Program } from './program.ts'
import { playRound, type RoundReport } from './round.ts'

/** Kills of a round, taken in turn. */
const KILLS = [1, 1, 2, 1, 1, 1, 3, 1, 1, 1] as const
/** Programs for one that counts: some have ended before the first kill. */
const SPARE = 1.3

export type Totals = {
  /** Killed at least once between acceptance and end, and compared. */
  programs: number
  /** Of these, in the middle of their root turn. */
  begun: number
  /** Compared although they had ended before the first kill. */
  spared: number
  rounds: number
  kills: number
  /** Kills that a counted program lived through, summed over programs. */
  lived: number
  turns: number
  replays: number
  steps: number
  runs: number
}

export type CampaignOptions = {
  programs: number
  seed: number
  /** Programs of a round with one kill. */
  batch: number
  /** Number of the first program. */
  from?: number
  /** Of every round; by default they differ. */
  kills?: number
  onRound?: (report: RoundReport, totals: Totals) => void
}

/** A database for rounds. */
export class Arena {
  readonly folder: string
  readonly server: EmbeddedPostgres
  readonly #data: string

  private constructor(folder: string, data: string, server: EmbeddedPostgres) {
    this.folder = folder
    this.server = server
    this.#data = data
  }

  static async open(): Promise<Arena> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'vivarium-random-')))
    const data = join(folder, 'data')
    return new Arena(folder, data, await startEmbedded({ dataDir: data }))
  }

  async close(): Promise<void> {
    await this.server.release()
    await stopEmbedded(this.#data, { force: true })
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** @throws Divergence at the first round with a finding */
export async function campaign(arena: Arena, options: CampaignOptions): Promise<Totals> {
  const { programs, seed, batch } = options
  const totals: Totals = {
    ...{ programs: 0, begun: 0, spared: 0, rounds: 0, kills: 0, lived: 0, turns: 0, replays: 0, steps: 0, runs: 0 },
  }
  let from = options.from ?? 0
  while (totals.programs < programs) {
    const kills = options.kills ?? KILLS[totals.rounds % KILLS.length] ?? 1
    const count = Math.min(Math.ceil(batch / kills), Math.ceil((programs - totals.programs) * SPARE))
    // A chance of its own for each round: one that is played alone is killed at the same moments.
    const chance = new Chance(Math.imul(seed, 31) + from)
    const report = await playRound({ folder: arena.folder, server: arena.server, seed, from, count, kills, chance })
    add(totals, report, count)
    options.onRound?.(report, totals)
    if (report.findings.length > 0) throw new Divergence(report, { seed, from, count, kills })
    from += count
  }
  return totals
}

function add(totals: Totals, report: RoundReport, count: number): void {
  const { struck, kills, turns, replays, steps, runs } = report
  const all = [...struck.values()]
  totals.programs += all.length
  totals.begun += all.filter(({ begun }) => begun).length
  totals.spared += count - all.length
  totals.rounds += 1
  totals.kills += kills
  totals.lived += all.reduce((sum, one) => sum + one.kills, 0)
  totals.turns += turns
  totals.replays += replays
  totals.steps += steps
  totals.runs += runs
}

export class Divergence extends Error {
  override readonly name = 'Divergence'
  readonly programs: readonly Program[]

  constructor(report: RoundReport, round: { seed: number; from: number; count: number; kills: number }) {
    const { seed, from, count, kills } = round
    const batch = count * kills
    const which = `--seed ${seed} --from ${from} --programs ${count}`
    const again = `npm run random -- ${which} --batch ${batch} --kills ${kills}`
    const found = report.findings.slice(0, 40).join('\n')
    const shown = report.programs.slice(0, 3).map((program) => JSON.stringify(program))
    super(`${report.findings.length} findings. Again: ${again}\n${found}\n${shown.join('\n')}`)
    this.programs = report.programs
  }
}
