/**
 * A real server process that runs programs, made to be killed:
 * `child-main.ts DATA SCHEMA LOG TABLE SEED FROM COUNT [MUTANT]`.
 *
 * - Each child of a round starts all programs of the round again, under their idempotency keys.
 * - It is also the world outside: it completes the steps whose tokens were handed out, by an earlier child too.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createRuntime, type Runtime, RuntimeError } from 'vivarium'
import { Chance } from '../crash/chance.ts'
import { drawn, type Interpreter, interpreters, type RunMessage } from './interpreter.ts'
import { type Line, LineFile, readLog } from './line.ts'
import { isMutant, mutantBackend } from './mutant.ts'
import { programOf } from './program.ts'

/** Ms after which the outside answers, at most. */
const ANSWER_MS = 40

type Token = Pick<Extract<Line, { e: 'token' }>, 'path' | 'token' | 'outcome'>

/** Who completes external steps. */
class Outsider {
  readonly #runtime: Runtime
  readonly #lines: LineFile
  readonly #chance: Chance

  constructor(runtime: Runtime, lines: LineFile, chance: Chance) {
    this.#runtime = runtime
    this.#lines = lines
    this.#chance = chance
  }

  async answer({ path, token, outcome }: Token): Promise<void> {
    await sleep(this.#chance.below(ANSWER_MS))
    const give = async (): Promise<void> => {
      const value = drawn(path)
      try {
        if (outcome === 'error') await this.#runtime.failStep(token, new Error('The outside says no.'))
        else await this.#runtime.completeStep(token, value)
        this.#lines.write({ e: 'settled', path, token, value })
      } catch (error) {
        if (!(error instanceof RuntimeError) || error.code !== 'ALREADY_COMPLETED') throw error
        this.#lines.write({ e: 'settled', path, token, value: null })
      }
    }
    await (outcome === 'rivals' ? Promise.all([give(), give()]) : give())
  }
}

/** Tokens that nobody is known to have used. */
function openTokens(lines: readonly Line[]): Token[] {
  const settled = new Set(lines.flatMap((line) => (line.e === 'settled' ? [line.token] : [])))
  const tokens = lines.flatMap((line) => (line.e === 'token' && !settled.has(line.token) ? [line] : []))
  return [...new Map(tokens.map((line) => [line.token, line])).values()]
}

async function main(): Promise<void> {
  const [, , data = '', schema = '', log = '', table = '', seed = '', from = '', count = '', mutant = ''] = process.argv
  const before = readLog(log)
  const lines = new LineFile(log)
  const failed = (what: string) => (error: unknown) =>
    lines.write({ e: 'failed', what, why: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  const early: Token[] = openTokens(before)
  let handed = (token: Token): void => void early.push(token)
  const { root, layers } = interpreters({ lines, table, handed: (token) => handed(token) })
  const backend = isMutant(mutant) ? { backend: mutantBackend(mutant, { data, schema }) } : {}
  const runtime = await createRuntime({ root, data, schema, ...backend })
  process.once('SIGTERM', () => {
    runtime.stop('SIGTERM').then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
  process.send?.('up')
  const outsider = new Outsider(runtime, lines, new Chance(Number(seed) + Number(from)))
  handed = (token) => void outsider.answer(token).catch(failed(`the answer to ${token.path}`))
  for (const token of early.splice(0)) handed(token)
  const [layer] = layers
  if (layer === undefined) throw new Error('There is no layer.')
  const results = Array.from({ length: Number(count) }, (_, i) =>
    startProgram(runtime, layer, Number(seed), Number(from) + i),
  )
  await Promise.all(results.map(({ accepted }) => accepted))
  process.send?.('accepted')
  const known = new Set(before.flatMap((line) => (line.e === 'ended' ? [line.program] : [])))
  await Promise.all(
    results.map(async ({ id, result }) => {
      try {
        const value = Number(await result)
        if (!known.has(id)) lines.write({ e: 'ended', program: id, result: value })
      } catch (error) {
        failed(id)(error)
      }
    }),
  )
  process.send?.('finished')
}

type Started = { id: string; accepted: Promise<void>; result: Promise<unknown> }

function startProgram(runtime: Runtime, layer: Interpreter, seed: number, number: number): Started {
  const { id, body } = programOf(seed, number)
  const message: RunMessage = { program: id, path: id, tag: null, rejects: false, body }
  const handle = runtime.start(layer, id, 'run', message, { idempotencyKey: id })
  const result = handle.then((started) => started.result())
  result.catch(() => {}) // heard by whoever waits for it
  return { id, accepted: handle.then(() => undefined), result }
}

await main()
