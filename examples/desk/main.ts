/**
 * The desk as an app: embeds the runtime, serves the observer, opens the desk, and goes when asked to.
 *
 * Everything durable is below `--data`. Kill this process however you like and start it again: it goes on.
 */
import { access } from 'node:fs/promises'
import { createRuntime, type Runtime, RuntimeError } from 'vivarium'
import { desk } from './desk.ts'
import { type Options, readOptions, USAGE } from './option.ts'
import { acceptStandardInput } from './standard-input.ts'
import tree from './tree.ts'

/** Milliseconds between two looks at whether the inbox is worked through. */
const LOOK_MS = 1_000

try {
  const options = readOptions(process.argv.slice(2))
  if (options === null) console.log(USAGE)
  else await main(options)
} catch (error) {
  console.error(explained(error))
  process.exit(1)
}

async function main(options: Options): Promise<void> {
  const { inbox, ratePerSecond, chaos, shipAfterMs, data } = options
  if (inbox !== null && inbox !== '-') await access(inbox)
  const starting = createRuntime({ root: tree, exportTelemetry: true, ...(data === null ? {} : { data }) })
  const ending = new AbortController()
  endOnSignal(starting, ending)
  const runtime = await starting
  try {
    const { url } = await runtime.listen({ port: options.port, host: options.host })
    const work = inbox === null ? 'the shipped inbox' : inbox === '-' ? 'standard input' : inbox
    console.log(`The desk is open: ${url}`)
    console.log(
      `  works through ${work}, ${ratePerSecond} a second${chaos ? ', in chaos' : ''}; data in ${runtime.place}`,
    )
    await runtime.ref(desk, 'main').open({ inbox, ratePerSecond, conditions: { chaos, shipAfterMs } })
    if (inbox === '-') await acceptStandardInput(runtime, ratePerSecond, ending.signal)
    else await inboxDone(runtime, ending.signal)
  } catch (error) {
    if (ending.signal.aborted) return // the runtime is being stopped; what was open goes on at the next start
    await runtime.stop()
    throw error
  }
}

async function inboxDone(runtime: Runtime, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { finished, accepted, repeated } = await runtime.ref(desk, 'main').progress()
    if (finished) {
      console.log(`The inbox is read: ${accepted} requests taken in, ${repeated} repeated lines skipped.`)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** The first signal drains and ends with 0, also while the runtime still starts; a second one does not wait. */
function endOnSignal(starting: Promise<Runtime>, ending: AbortController): void {
  const end = (signal: NodeJS.Signals) => {
    if (ending.signal.aborted) process.exit(130)
    console.log(`${signal}: the desk closes; turns in hand are finished or go on at the next start.`)
    ending.abort()
    // A start that fails ends the process itself, with its own error.
    starting.then(close).then(process.exit, () => undefined)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

async function close(runtime: Runtime): Promise<number> {
  try {
    await runtime.stop()
    return 0
  } catch (error) {
    console.error(explained(error))
    return 1
  }
}

/** What happened and what to do, without a stack where the message says it all. */
function explained(error: unknown): string {
  if (error instanceof RuntimeError) {
    const { code, message, cause } = error
    if (cause === undefined) return `${code}: ${message}`
    // What the system itself names is no bug of ours: its stack would say nothing.
    const isNamed = cause instanceof Error && typeof Reflect.get(cause, 'code') === 'string'
    return `${code}: ${message}\n  because of ${isNamed ? cause.message : explained(cause)}`
  }
  if (!(error instanceof Error)) return String(error)
  const code: unknown = Reflect.get(error, 'code')
  const known = code === 'ENOENT' || String(code).startsWith('ERR_PARSE_ARGS') || error.message.startsWith('--')
  return known ? `${error.message}\n\n${USAGE}` : (error.stack ?? error.message)
}
