/**
 * A stream has no gap, holds one attempt, whole, and is closed (R1, R4); what a live reader got is what is there, each
 * item once and in order (R5).
 */
import type { StreamItem } from '../../server/observe/streams.ts'
import type { StoredStream } from '../../server/store/memory/stream.ts'
import type { Observed } from './observed.ts'
import type { ScribeRequest } from './scribe-order.ts'
import type { StoreWatch } from './store-watch.ts'

type Evidence = { readonly watch: StoreWatch; readonly observed: Observed }

export function checkStreams(requests: readonly ScribeRequest[], { watch, observed }: Evidence): string[] {
  const states = new Map([...watch.scribes()].map(({ id, state }) => [id, state]))
  return requests.flatMap(({ to, order }) => {
    const { id, chunks } = order
    const state = states.get(`scribe/${to}`)
    const isStopped = watch.outcome(`scribe/${to}`, id) === 'PROCESS_EXITED'
    const done = state?.done[id] ?? 0
    if (done !== (isStopped ? 0 : 1)) return [`stream: ${id} was written ${done} times`]
    if (isStopped) return []
    const stored = [...watch.db.streams.values()].find(({ row }) => row.path.endsWith(`/${id}`))
    if (stored === undefined) return [`stream: ${id} is not there`]
    const stem = state?.stems[id] ?? ''
    return [...checkStored(id, stored, { stem, chunks }), ...checkRead(id, stored, observed.read.get(id) ?? [])]
  })
}

function textOf(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}

function checkStored(id: string, { row, records }: StoredStream, of: { stem: string; chunks: number }): string[] {
  const found: string[] = []
  let left: { pos: number; text: string }[] = []
  records.forEach(({ pos, reset, data }, i) => {
    if (pos !== i) found.push(`stream: record ${i} of ${id} has position ${pos}`)
    if (reset) left = left.filter((chunk) => chunk.pos < Number(textOf(data)))
    else left.push({ pos, text: String(JSON.parse(textOf(data))) })
  })
  const is = left.map(({ text }) => text).join(' ')
  const wanted = Array.from({ length: of.chunks }, (_, i) => `${of.stem}:${i}`).join(' ')
  if (is !== wanted) found.push(`stream: ${id} holds ${is} instead of ${wanted}`)
  if (!row.closed) found.push(`stream: ${id} is open`)
  return found
}

function checkRead(id: string, { records }: StoredStream, items: readonly StreamItem[]): string[] {
  const told = items.map(
    (item) => `${item.offset} ${item.kind === 'chunk' ? JSON.stringify(item.value) : `<${item.to}`}`,
  )
  const is = records.map(({ pos, reset, data }) => `${pos} ${reset ? '<' : ''}${textOf(data)}`)
  if (told.join() === is.join()) return []
  return [`stream: a reader of ${id} got ${told.join(', ')}; there is ${is.join(', ')}`]
}
