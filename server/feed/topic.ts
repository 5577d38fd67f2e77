/**
 * The topics of the feed: which collector each is read from, how it is keyed, and how often it speaks.
 */
import { RuntimeError } from '../../shared/error.ts'
import { TOPIC_PATTERN, type View, WINDOW_ROWS_MAX } from '../../shared/frame.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Clock } from '../clock.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { Streams } from '../observe/streams.ts'
import { PROCESS_STREAMS } from '../store/stream.ts'
import type { Collector, CollectorHub, Lease } from './collector.ts'
import type { CostMeter } from './cost.ts'
import { EventLog } from './event-log.ts'
import type { LogCollector } from './log-collector.ts'
import { PollCollector, type Polled, type PollOptions } from './poll-collector.ts'
import { ProcessSampler } from './process-sampler.ts'
import { type Keyed, RecordLog, type RecordOptions } from './record-log.ts'
import type { Row, RowSource } from './row-source.ts'
import { StreamLog } from './stream-log.ts'

export type Place = {
  clock: Clock
  inspect: Inspect
  /** Null where the host serves no streams. */
  streams: Streams | null
  hub: CollectorHub
  cost: CostMeter
  /** Learns of errors that are bugs. */
  report: (error: unknown) => void
}

/** `periodMs` is the shortest time between two frames; a subscription may ask for longer ones. */
export type Topic =
  | { kind: 'rows'; periodMs: number; acquire: (view: View) => Lease<Collector & RowSource>; history: () => unknown[] }
  | { kind: 'log'; periodMs: number; acquire: () => Lease<LogCollector> }

const ROWS_MS = 250
const CHART_MS = 900
const LOG_MS = 100
/** Milliseconds between two reads of what may be in the store. */
const SLOW_MS = 2_000
/** Seconds of vital signs sent at first: what the overview draws. */
const HISTORY_MAX = 120
/** Messages of a mailbox shown when the view does not say. */
const MAILBOX_MAX = 100
const NO_HISTORY = (): unknown[] => []

/** @throws TOPIC_UNKNOWN */
export function topicOf(name: string, place: Place): Topic {
  const at = name.indexOf(':')
  const noun = at < 0 ? name : name.slice(0, at)
  const id = at < 0 ? null : name.slice(at + 1)
  if (!TOPIC_PATTERN.test(name)) throw unknown(name)
  switch (noun) {
    case 'processes':
      return rows(ROWS_MS, () => place.hub.acquire(name, () => new ProcessSampler(place)))
    case 'vitals':
      return { ...polled(place, name, vitals(place)), periodMs: CHART_MS, history: () => vitalsHistory(place.inspect) }
    case 'needs':
      return polled(place, name, { periodMs: 1_000, read: () => needs(place.inspect) })
    case 'nodes':
      return polled(place, name, { periodMs: SLOW_MS, read: async () => ({ rows: await place.inspect.nodes() }) })
    case 'dead-letters':
      return polled(place, name, deadLetters(place.inspect))
    case 'process':
      return polled(place, name, detail(place.inspect, id ?? ''))
    case 'mailbox':
      return mailbox(place, id ?? '')
    case 'events':
      return log(() => place.hub.acquire(name, () => new EventLog(place.inspect, id)))
    case 'stream':
      return stream(place, name, id ?? '')
    case 'journal':
      return recorded(place, name, journal(place.inspect, id ?? ''))
    case 'failures':
      return recorded(place, name, failures(place.inspect, id))
    case 'audit':
      return recorded(place, name, audit(place.inspect))
    default:
      throw unknown(name)
  }
}

function unknown(name: string): RuntimeError {
  return new RuntimeError('TOPIC_UNKNOWN', `There is no topic ${JSON.stringify(name.slice(0, 80))}.`)
}

function rows(periodMs: number, acquire: (view: View) => Lease<Collector & RowSource>): Topic & { kind: 'rows' } {
  return { kind: 'rows', periodMs, acquire, history: NO_HISTORY }
}

function log(acquire: () => Lease<LogCollector>): Topic {
  return { kind: 'log', periodMs: LOG_MS, acquire }
}

/** `place` is the id of a process and the name of its stream. */
function stream({ streams, hub, cost, report }: Place, topic: string, place: string): Topic {
  if (streams === null) throw unknown(topic)
  return log(() => hub.acquire(topic, () => new StreamLog({ streams, cost, report, path: PROCESS_STREAMS + place })))
}

type Poll = Pick<PollOptions, 'periodMs' | 'read' | 'wake'>

function polled(place: Place, key: string, poll: Poll): Topic & { kind: 'rows' } {
  return rows(ROWS_MS, () => place.hub.acquire(key, () => new PollCollector({ ...place, ...poll })))
}

function recorded(place: Place, key: string, options: Omit<RecordOptions, keyof Place>): Topic {
  return log(() => place.hub.acquire(key, () => new RecordLog({ ...place, ...options })))
}

function vitals({ inspect, cost }: Place): Poll {
  const read = (): Polled => {
    const now = { ...inspect.vitals(), feed: cost.read() }
    return { rows: [{ id: now.node, ...now }] }
  }
  return { periodMs: 1_000, read }
}

function vitalsHistory(inspect: Inspect): unknown[] {
  return inspect.vitalsHistory().slice(-HISTORY_MAX)
}

async function needs(inspect: Inspect): Promise<Polled> {
  return { rows: (await inspect.needs()).map((need) => ({ id: need.key, ...need })) }
}

function deadLetters(inspect: Inspect): Poll {
  const read = async (): Promise<Polled> => {
    const { items } = await inspect.deadLetters({ limit: WINDOW_ROWS_MAX })
    return { rows: items }
  }
  return { periodMs: SLOW_MS, read, wake: { kinds: ['dead-letter', 'audit'], when: () => true } }
}

function detail(inspect: Inspect, id: ProcessId): Poll {
  const read = async (): Promise<Polled> => {
    const found = await inspect.process(id)
    return { rows: found === null ? [] : [found] }
  }
  const kinds = ['process:start', 'process:exit', 'process:restart', 'process:suspend', 'process:resume'] as const
  return { periodMs: 500, read, wake: { kinds, when: (event) => 'id' in event && event.id === id } }
}

/** One collector per length of window, in steps, so that viewers with much the same window share it. */
function mailbox(place: Place, id: ProcessId): Topic {
  const { inspect, hub } = place
  return rows(ROWS_MS, (view) => {
    const wanted = view.window?.[1] ?? MAILBOX_MAX
    const limit = Math.min(WINDOW_ROWS_MAX, Math.max(MAILBOX_MAX, Math.ceil(wanted / MAILBOX_MAX) * MAILBOX_MAX))
    const read = async (): Promise<Polled> => {
      const { items, total } = await inspect.mailbox(id, { limit })
      const rows: Row[] = items.map((item) => ({ id: item.messageId ?? `position ${item.position}`, ...item }))
      return { rows, counts: { total, rows: rows.length } }
    }
    return hub.acquire(`mailbox ${limit}:${id}`, () => new PollCollector({ ...place, periodMs: 500, read }))
  })
}

type Records = Omit<RecordOptions, keyof Place>

function journal(inspect: Inspect, id: ProcessId): Records {
  return {
    periodMs: 500,
    // Counters of the live process say whether to ask the store at all.
    version: async () => {
      const found = await inspect.process(id)
      return found === null ? null : `${found.incarnation} ${found.turns} ${found.stateVersion} ${found.status}`
    },
    read: async (limit): Promise<Keyed[]> => {
      const { items } = await inspect.journal(id, { limit })
      return items.map((item) => ({ key: String(item.seq), number: item.seq, value: { ...item, payload: null } }))
    },
  }
}

function failures(inspect: Inspect, id: ProcessId | null): Records {
  return {
    periodMs: SLOW_MS,
    read: async (limit): Promise<Keyed[]> => {
      const { items } = await inspect.failures(id === null ? { limit } : { process: id, limit })
      return items.map((item) => ({ key: item.id, number: null, value: item }))
    },
    wake: { kinds: ['failure'], when: (event) => id === null || ('id' in event && event.id === id) },
  }
}

function audit(inspect: Inspect): Records {
  return {
    periodMs: SLOW_MS,
    read: async (limit): Promise<Keyed[]> => {
      const { items } = await inspect.audit({ limit })
      return items.map((item) => ({ key: item.id, number: null, value: item }))
    },
    wake: { kinds: ['audit'], when: () => true },
  }
}
