/**
 * `npm run sim`: simulates many seeds, and says what was done and what was found.
 *
 *   npm run sim -- --seeds 2000          seeds 1 to 2000, on all cores
 *   npm run sim -- --first 5000          from another seed on
 *   npm run sim -- --seed 4711           one seed, with everything that happened
 *   npm run sim -- --mutation "lost ack" with a planted bug, until it is found
 *
 * Ends with 1 when a promise was broken. Seeds are run in child processes, some hundred each: what a killed node leaves
 * in memory goes with its process.
 */
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTATIONS, type Mutation } from './mutation.ts'
import { FEATURE_MUTATIONS, RARE_MUTATIONS } from './mutation-feature.ts'
import { type Report, simulate } from './simulation.ts'
import { Summary } from './summary.ts'

const SEEDS = 200
/** Seeds of one child. */
const CHUNK = 100

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: String(SEEDS) },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mutation: { type: 'string' },
  },
})

const PLANTED: readonly Mutation[] = [...MUTATIONS, ...FEATURE_MUTATIONS, ...RARE_MUTATIONS]

type Wanted = { first: number; seeds: number; mutation?: Mutation }

function wanted(): Wanted {
  const mutation = PLANTED.find(({ name }) => name === values.mutation)
  if (values.mutation !== undefined && mutation === undefined) {
    throw new Error(`No mutation ${values.mutation}. There are: ${PLANTED.map(({ name }) => name).join(', ')}.`)
  }
  const counts = { first: numberOf(values.first), seeds: numberOf(values.seeds) }
  return mutation === undefined ? counts : { ...counts, mutation }
}

function numberOf(text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`${text} is no number of seeds.`)
  return number
}

async function one(seed: number, mutation: Mutation | undefined): Promise<boolean> {
  const print = (line: string): void => console.log(line)
  const report = await simulate(seed, mutation === undefined ? { print } : { print, mutation })
  const summary = new Summary()
  summary.add(report)
  console.log(summary.text())
  return report.violations.length === 0
}

/** Until the bug is found. */
async function planted({ first, seeds, mutation }: Wanted & { mutation: Mutation }): Promise<boolean> {
  for (let seed = first; seed < first + seeds; seed++) {
    const { violations } = await simulate(seed, { mutation })
    if (violations.length === 0) continue
    console.log(
      `"${mutation.name}" was found by seed ${seed}, the ${seed - first + 1}th:\n  ${violations.join('\n  ')}`,
    )
    return true
  }
  console.log(`"${mutation.name}" was not found in ${seeds} seeds.`)
  return false
}

async function many({ first, seeds }: Wanted): Promise<boolean> {
  const summary = new Summary()
  const chunks: Wanted[] = []
  for (let at = first; at < first + seeds; at += CHUNK) {
    chunks.push({ first: at, seeds: Math.min(CHUNK, first + seeds - at) })
  }
  const work = async (): Promise<void> => {
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
      await inChild(chunk, (report) => {
        summary.add(report)
        if (report.violations.length > 0) console.log(summary.failure(report))
      })
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  console.log(summary.text())
  return summary.failed.length === 0 && summary.seeds === seeds
}

function inChild({ first, seeds }: Wanted, heard: (report: Report) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['--first', String(first), '--seeds', String(seeds)], {
      serialization: 'advanced',
    })
    child.on('message', (report) => heard(report as Report)) // sent below
    child.on('exit', (code) => {
      if (code === 0) resolve()
      else reject(new Error(`The process of the seeds from ${first} on ended with ${code}.`))
    })
  })
}

async function child({ first, seeds }: Wanted): Promise<void> {
  for (let seed = first; seed < first + seeds; seed++) process.send?.(await simulate(seed))
  process.disconnect?.()
}

async function main(): Promise<void> {
  const what = wanted()
  const { mutation } = what
  if (process.send !== undefined) return child(what)
  let clean: boolean
  if (values.seed !== undefined) clean = await one(numberOf(values.seed), mutation)
  else clean = mutation === undefined ? await many(what) : await planted({ ...what, mutation })
  if (!clean) process.exitCode = 1
}

await main()
