/**
 * The last events of a runtime: for black boxes of exits and for readers who come late.
 *
 * - O5: memory is bounded in events and bytes, whatever is told. Three lanes, each with its own bound: a storm of
 *   births or a chatty log evicts neither failures nor decisions.
 * - Turn and step events are not kept: keeping them would make every turn build them.
 * - A log's data is copied as bounded JSON: the ring holds on to nothing of an agent.
 */
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'

/** Events of a lane: several minutes of a busy desk. */
export const LANE_EVENTS_MAX = 2_000
/** Bytes of a lane, as estimated from its texts; stacks and log data are what is large. */
export const LANE_BYTES_MAX = 2 * 1024 * 1024
/** Characters of a log's message or JSON data that are kept. */
const LOG_TEXT_MAX = 2_000
/** Bytes of an event object without its long texts. */
const EVENT_BYTES = 200
/** Text is at most two bytes a character in V8. */
const CHARACTER_BYTES = 2

type Lane = 'churn' | 'log' | 'notable'

const LANES = {
  'process:start': 'churn',
  'process:exit': 'churn',
  'process:activate': 'churn',
  'process:passivate': 'churn',
  log: 'log',
  'process:restart': 'notable',
  'process:suspend': 'notable',
  'process:resume': 'notable',
  'process:diverge': 'notable',
  'process:fenced': 'notable',
  'supervisor:give-up': 'notable',
  'supervisor:child-failed': 'notable',
  failure: 'notable',
  'dead-letter': 'notable',
  'thread:block': 'notable',
  'store:down': 'notable',
  'store:up': 'notable',
  'node:join': 'notable',
  'node:leave': 'notable',
  'recovery:stop': 'notable',
  audit: 'notable',
  'runtime:start': 'notable',
  'runtime:drain': 'notable',
  'runtime:stop': 'notable',
} as const satisfies Partial<Record<EventKind, Lane>>

type KeptKind = keyof typeof LANES
// Object.keys loses the literal types that `satisfies` just checked.
export const RING_KINDS = Object.keys(LANES) as readonly KeptKind[]

/** Where the ring listens; the bus, seen from here. */
type Source = { listen(kinds: readonly EventKind[], fn: (event: RuntimeEvent) => void, label?: string): () => void }

export class Ring {
  readonly #lanes = { churn: new LaneRing(), log: new LaneRing(), notable: new LaneRing() }
  #order = 0
  readonly #stop: () => void

  constructor(source: Source) {
    this.#stop = source.listen(RING_KINDS, (event) => this.#keep(event), 'ring')
  }

  /** At most `limit` events, newest ones, oldest first; of one process if `id` is given. */
  recent(limit: number, id?: ProcessId): RuntimeEvent[] {
    const wanted = Math.max(0, Math.trunc(limit))
    if (wanted === 0) return []
    const found = Object.values(this.#lanes).flatMap((lane) => lane.newest(wanted, id))
    found.sort((a, b) => a.order - b.order)
    return found.slice(-wanted).map((slot) => slot.event)
  }

  /** What is held now. */
  get size(): { events: number; bytes: number } {
    const lanes = Object.values(this.#lanes)
    return {
      events: lanes.reduce((sum, lane) => sum + lane.length, 0),
      bytes: lanes.reduce((sum, lane) => sum + lane.bytes, 0),
    }
  }

  close(): void {
    this.#stop()
  }

  #keep(event: RuntimeEvent): void {
    const lane = laneOf(event)
    if (lane === null) return
    const kept = event.kind === 'log' ? shortened(event) : event
    this.#lanes[lane].push({ event: kept, order: this.#order++, bytes: weigh(kept) })
  }
}

type Slot = { event: RuntimeEvent; order: number; bytes: number }

/** One circular buffer; the oldest go when either bound is passed. */
class LaneRing {
  readonly #slots: (Slot | null)[] = []
  #head = 0
  length = 0
  bytes = 0

  push(slot: Slot): void {
    if (this.length === LANE_EVENTS_MAX) this.#evict()
    this.#slots[(this.#head + this.length) % LANE_EVENTS_MAX] = slot
    this.length += 1
    this.bytes += slot.bytes
    while (this.bytes > LANE_BYTES_MAX && this.length > 1) this.#evict()
  }

  newest(limit: number, id: ProcessId | undefined): Slot[] {
    const found: Slot[] = []
    for (let i = this.length - 1; i >= 0 && found.length < limit; i--) {
      const slot = this.#slots[(this.#head + i) % LANE_EVENTS_MAX]
      if (slot == null) continue
      if (id === undefined || ('id' in slot.event && slot.event.id === id)) found.push(slot)
    }
    return found
  }

  #evict(): void {
    this.bytes -= this.#slots[this.#head]?.bytes ?? 0
    this.#slots[this.#head] = null
    this.#head = (this.#head + 1) % LANE_EVENTS_MAX
    this.length -= 1
  }
}

function laneOf(event: RuntimeEvent): Lane | null {
  // A death with an error is no churn: it is what the black box is about.
  if (event.kind === 'process:exit' && event.error !== null) return 'notable'
  return event.kind in LANES ? LANES[event.kind as KeptKind] : null // the `in` test proves the narrowing
}

type Log = Extract<RuntimeEvent, { kind: 'log' }>

function shortened(event: Log): RuntimeEvent {
  return { ...event, message: event.message.slice(0, LOG_TEXT_MAX), data: preview(event.data) }
}

/** A copy of the data of a log that is plain, small, and shares nothing with it. */
export function preview(data: unknown): unknown {
  if (data === null || data === undefined) return null
  try {
    const text = JSON.stringify(data) ?? null
    if (text === null) return String(data).slice(0, LOG_TEXT_MAX)
    return text.length <= LOG_TEXT_MAX ? JSON.parse(text) : { truncated: text.slice(0, LOG_TEXT_MAX) }
  } catch (error) {
    return { unreadable: error instanceof Error ? error.message.slice(0, LOG_TEXT_MAX) : 'not JSON' }
  }
}

function weigh(event: RuntimeEvent): number {
  let characters = 0
  if ('error' in event) characters += weighError(event.error)
  if (event.kind === 'log') characters += event.message.length + (JSON.stringify(event.data)?.length ?? 0)
  if ('reason' in event && event.reason !== null) characters += event.reason.length
  return EVENT_BYTES + characters * CHARACTER_BYTES
}

type Weighty = { message: string; stack?: string; cause?: Weighty }

function weighError(error: Weighty | null): number {
  if (error === null) return 0
  const own = error.message.length + (error.stack?.length ?? 0)
  return own + (error.cause === undefined ? 0 : weighError(error.cause))
}
