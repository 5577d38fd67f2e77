/**
 * Waits, retries and upgrades as entries of the journal, read as rows and text: each due time once, no waking before
 * it, each failed attempt once, each message received by one turn and then not handled, versions one after the other.
 */
import type { Rows } from './rows.ts'

export type WaitEntry = {
  k: string
  turn?: string | null
  key?: string
  due?: number
  at?: number
  attempt?: number
  token?: string | null
  message?: { id: string } | null
  from?: number
  to?: number
  how?: string
  decision?: string
}
export type WaitRow = { process: string; seq: string; entries: readonly WaitEntry[] }

/** Turns that give back what they received end like this. */
const DROPPED = ['"how":"rejected"', '"how":"cancelled"', '"decision":"dead"']

export async function checkWaits(rows: Rows, ended: ReadonlySet<string>): Promise<string[]> {
  const { sql, schema } = rows
  const kinds = ['due', 'woke', 'retry', 'opened', 'received', 'upgrade']
  const like = [...kinds.map((kind) => `%"k":"${kind}"%`), ...DROPPED.map((end) => `%${end}%`)]
  const found = await sql<{ process: string; seq: string; payload: string }[]>`
    select j.process, j.seq, j.payload
    from ${sql(schema)}.journal j join ${sql(schema)}.processes p on p.pid = j.process
    where j.payload like any(${like}) and p.agent <> 'patient' order by j.process, j.seq`
  const read = found.map(({ process, seq, payload }) => {
    const entries = JSON.parse(payload) as WaitEntry[] // the documented row format
    return { process, seq, entries }
  })
  const stored = await sql<{ process: string; version: number }[]>`
    select pid as process, state_version as version from ${sql(schema)}.processes`
  return findWaits(read, { ended, versions: new Map(stored.map(({ process, version }) => [process, version])) })
}

type Known = { ended: ReadonlySet<string>; versions: ReadonlyMap<string, number> }

/** Of rows in the order of their processes. */
export function findWaits(rows: readonly WaitRow[], { ended, versions }: Known): string[] {
  const found = findReceived(rows, ended)
  const dues = new Map<string, number>()
  const once = new Set<string>()
  const failed = new Map<string, number>()
  const version = new Map<string, number>()
  for (const { process, seq, entries } of rows) {
    for (const { k, turn, key = '', due = 0, at = 0, attempt = 0, from = 0, to = 0 } of entries) {
      const where = `${turn ?? ''} ${key} (process ${process} seq ${seq})`
      const place = `${turn ?? ''} ${key}`
      if (k === 'due' || k === 'woke' || k === 'opened' || k === 'received') {
        if (once.has(`${k} ${place}`)) found.push(`"${k}" twice: ${where}`)
        once.add(`${k} ${place}`)
      }
      if (k === 'due') dues.set(place, due)
      if (k === 'woke' && at < (dues.get(place) ?? 0))
        found.push(`woken ${(dues.get(place) ?? 0) - at} ms early: ${where}`)
      if (k === 'retry') {
        if (attempt !== (failed.get(place) ?? 0) + 1)
          found.push(`attempt ${attempt} after ${failed.get(place)}: ${where}`)
        failed.set(place, attempt)
      }
      if (k === 'upgrade') {
        const before = version.get(process)
        if (before !== undefined && before !== from) found.push(`upgraded to ${before} and then from ${from}: ${where}`)
        version.set(process, to)
      }
    }
  }
  for (const [process, to] of version) {
    if (versions.get(process) !== to)
      found.push(`process ${process} was upgraded to ${to} and is ${versions.get(process)}`)
  }
  return found
}

/** X22: by one turn, unless that gave it back, and then nobody handles it. */
function findReceived(rows: readonly WaitRow[], ended: ReadonlySet<string>): string[] {
  const entries = rows.flatMap((row) => row.entries)
  const dropped = entries.filter((one) => one.decision === 'dead' || (one.how !== undefined && one.how !== 'done'))
  const back = new Set(dropped.map(({ turn }) => turn))
  const once = new Set<string>()
  return entries.flatMap(({ k, turn, message }) => {
    if (k !== 'received' || message == null || back.has(turn)) return []
    const twice = once.has(message.id)
    once.add(message.id)
    return [
      ...(ended.has(message.id) ? [`message ${message.id} was received and handled: ${turn}`] : []),
      ...(twice ? [`message ${message.id} was received twice: ${turn}`] : []),
    ]
  })
}

/** X25: each upgrade of the code ran once on the state: it counts them itself. */
export async function checkVersions(rows: Rows, states: ReadonlyMap<string, number>): Promise<string[]> {
  const { sql, schema } = rows
  const stored = await sql<{ id: string; version: number }[]>`
    select id, state_version as version from ${sql(schema)}.processes where agent = 'relic'`
  return stored.flatMap(({ id, version }) => {
    const state = states.get(id)
    return state === undefined || state === version ? [] : [`${id} is of version ${version} and its state of ${state}`]
  })
}
