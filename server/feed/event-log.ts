/**
 * Collector of runtime events: of everything that is rare, or of all that one process does.
 *
 * - Turn and step events exist only while somebody listens for them, so the log of everything leaves them out: watching
 *   the overview must not make every turn of every process dearer.
 * - Items carry `seq`, their index: events have no id of their own.
 */
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Inspect } from '../observe/inspect.ts'
import { LogCollector } from './log-collector.ts'

const RARE: readonly EventKind[] = [
  'process:start',
  'process:exit',
  'process:restart',
  'process:suspend',
  'process:resume',
  'process:diverge',
  'process:fenced',
  'supervisor:give-up',
  'supervisor:child-failed',
  'failure',
  'dead-letter',
  'log',
  'thread:block',
  'store:down',
  'store:up',
  'node:join',
  'node:leave',
  'recovery:stop',
  'audit',
  'runtime:start',
  'runtime:drain',
  'runtime:stop',
]

/** Events shown at once to a new reader. */
const RECENT_MAX = 200

export class EventLog extends LogCollector {
  readonly #inspect: Inspect
  readonly #process: ProcessId | null
  #unlisten: (() => void) | null = null

  constructor(inspect: Inspect, process: ProcessId | null) {
    super()
    this.#inspect = inspect
    this.#process = process
  }

  start(): void {
    const process = this.#process
    const kinds = new Set<EventKind>(RARE)
    const recent = this.#inspect.recent(RECENT_MAX, process ?? undefined)
    for (const event of recent) if (process !== null || kinds.has(event.kind)) this.#keep(event)
    this.loaded = true
    // No await since `recent`: no event can fall between.
    this.#unlisten = this.#inspect.listen(process === null ? RARE : 'all', (event) => {
      if (process !== null && !('id' in event && event.id === process)) return
      this.#keep(event)
      this.changed()
    })
  }

  stop(): void {
    this.#unlisten?.()
  }

  #keep(event: RuntimeEvent): void {
    this.push({ ...event, seq: this.next })
  }
}
