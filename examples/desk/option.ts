/**
 * The command line of the desk: `--port N --data DIR --rate PER_SECOND --inbox FILE|- --ship-after MS --chaos`.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export type Options = {
  port: number
  host: string
  /** Null leaves the choice to the runtime: DATABASE_URL, else `.vivarium` in the working directory. */
  data: string | null
  ratePerSecond: number
  /** Absolute path; null is the shipped inbox, `-` standard input. */
  inbox: string | null
  shipAfterMs: number
  chaos: boolean
}

export const USAGE = `Usage: npm start -- [options]

  --port N           port of the observer and the API, default 4711; 0 takes a free one
  --host NAME        address to listen on, default 127.0.0.1
  --data DIR         folder of the database, default DATABASE_URL if set, else .vivarium; a second start goes on
                     where the first stopped
  --rate PER_SECOND  requests a second taken from the inbox, default 5
  --inbox FILE|-     requests as JSON lines {"n","customer","text"}, - for standard input; default: 428 shipped ones
  --ship-after MS    milliseconds between payment and the van; default 10,000 and the time 12 requests take
  --chaos            flaky price service, vans that break down, messages nobody can handle, a slow customer
  --help             this text`

const PORT = 4711
const RATE = 5
const RATE_MAX = 10_000
/** A change follows its order within so many lines of the inbox (README), so shipping waits at least that long. */
const LINES_UNTIL_CHANGE = 12
const SHIP_AFTER_MS = 10_000
const SHIP_AFTER_MS_MAX = 86_400_000

/** @throws Error naming the option and what it may be; `null` when help was asked for */
export function readOptions(args: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: 'string' },
      host: { type: 'string' },
      data: { type: 'string' },
      rate: { type: 'string' },
      inbox: { type: 'string' },
      'ship-after': { type: 'string' },
      chaos: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help === true) return null
  const ratePerSecond = number('--rate', values.rate ?? String(RATE), { min: 0.01, max: RATE_MAX })
  const wait = Math.round(SHIP_AFTER_MS + (LINES_UNTIL_CHANGE / ratePerSecond) * 1_000)
  const ship = values['ship-after'] ?? String(Math.min(wait, SHIP_AFTER_MS_MAX))
  return {
    port: whole('--port', values.port ?? String(PORT), { min: 0, max: 65_535 }),
    host: values.host ?? '127.0.0.1',
    data: values.data === undefined ? null : resolve(values.data),
    ratePerSecond,
    inbox: values.inbox === undefined || values.inbox === '-' ? (values.inbox ?? null) : resolve(values.inbox),
    shipAfterMs: whole('--ship-after', ship, { min: 0, max: SHIP_AFTER_MS_MAX }),
    chaos: values.chaos ?? false,
  }
}

type Range = { min: number; max: number }

function number(option: string, text: string, { min, max }: Range): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (value >= min && value <= max) return value
  throw new Error(`${option} is "${text}". It takes a number from ${min} to ${max}.`)
}

function whole(option: string, text: string, range: Range): number {
  const value = number(option, text, range)
  if (Number.isInteger(value)) return value
  throw new Error(`${option} is "${text}". It takes a whole number.`)
}
