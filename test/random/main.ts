/**
 * `npm run random -- --programs 10000 --seed 7`: random programs under SIGKILL, compared with the oracle. Ends with 1
 * at the first divergence, and says how to see it again.
 *
 * - `--batch N` programs at once, `--from N` the number of the first one, `--kills N` in every round.
 */
import { parseArgs } from 'node:util'
import { Arena, campaign, Divergence, type Totals } from './campaign.ts'

const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    batch: { type: 'string', default: '400' },
    from: { type: 'string', default: '0' },
    kills: { type: 'string' },
  },
})
const seed = whole('seed', values.seed)
const began = performance.now()
const arena = await Arena.open()
try {
  const totals = await campaign(arena, {
    seed,
    programs: whole('programs', values.programs),
    batch: whole('batch', values.batch),
    from: whole('from', values.from),
    ...(values.kills === undefined ? {} : { kills: whole('kills', values.kills) }),
    onRound: (_report, so) => console.log(`${elapsed()} s: ${tell(so)}`),
  })
  console.log(`seed ${seed}: ${tell(totals)}, 0 divergences, ${elapsed()} s`)
} catch (error) {
  if (!(error instanceof Divergence)) throw error
  console.error(error.message)
  process.exitCode = 1
} finally {
  await arena.close()
}

function tell({ programs, begun, spared, rounds, kills, lived, turns, replays, steps, runs }: Totals): string {
  return [
    `${programs} programs killed while they ran (${begun} inside their first turn, ${spared} more had ended before)`,
    `${kills} kills in ${rounds} rounds, ${lived} lived through`,
    `${turns} turns, ${replays} replays`,
    `${steps} steps run ${runs} times`,
  ].join(', ')
}

function elapsed(): number {
  return Math.round((performance.now() - began) / 1_000)
}

function whole(name: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new Error(`--${name} is ${text}. Use a whole number.`)
}
