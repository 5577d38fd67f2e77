/**
 * Metrics of a runtime, through @opentelemetry/api only. Names, units and attributes: docs/telemetry.md.
 *
 * - O10: nothing is measured until a meter provider is registered; then numbers are read when a reader collects, and
 *   only turns cost something each (one histogram record).
 * - Attributes come from small sets that the code defines (agent, operation, status, class): never an id.
 * - `attach` may be asked again: a host may register its provider after our start. The API has no late binding here.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import {
  type Attributes,
  type BatchObservableResult,
  createNoopMeter,
  type Meter,
  metrics,
  type Observable,
} from '@opentelemetry/api'
import type { EventKind, EventOf, RuntimeEvent } from '../../shared/event.ts'
import { splitId } from '../../shared/id.ts'
import { PROCESS_STATUSES, type ProcessRow, type ProcessStatus } from '../../shared/snapshot.ts'
import { SCOPE_NAME } from './telemetry.ts'

/** Ms between two looks at the event loop. Finer costs more than it tells. */
const DELAY_RESOLUTION_MS = 20
/** Seconds. A turn without steps takes well under a millisecond, one with a model call a minute. */
const TURN_BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300]
/** Seconds. From one fsync on a good disk to a database in trouble. */
const COMMIT_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5]
/** Rows of a batch; the committer's own limit is 250. */
const ROW_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 150, 200, 250]

type Source = {
  listen<K extends EventKind>(kinds: readonly K[], fn: (event: EventOf<K>) => void, label?: string): () => void
}

/** What is counted of a process. */
export type Counted = Pick<ProcessRow, 'agent' | 'status' | 'mailbox' | 'hidden'>

export type MetricsOptions = {
  bus: Source
  /** Every live process once. */
  scan(visit: (row: Counted) => void): void
  /** Events that reached nobody though somebody listened. */
  droppedEvents(): number
  /** Tasks that have a thread, and tasks that wait for one. */
  tasks(): { busy: number; queued: number }
  /** Put on every measurement: tells two runtimes of one program apart. */
  attributes?: Attributes
}

export class Metrics {
  readonly #options: MetricsOptions
  #stops: (() => void)[] = []
  #attached = false

  constructor(options: MetricsOptions) {
    this.#options = options
  }

  /** Makes the instruments if somebody registered a meter provider. True once they exist. */
  attach(): boolean {
    if (this.#attached) return true
    const meter = metrics.getMeter(SCOPE_NAME)
    if (meter === createNoopMeter()) return false
    this.#attached = true
    this.#stops = [
      this.#count(meter),
      this.#measureTurns(meter),
      this.#measureCommits(meter),
      this.#measureBlocks(meter),
      ...this.#observe(meter),
    ]
    return true
  }

  close(): void {
    for (const stop of this.#stops) stop()
    this.#stops = []
    this.#attached = false
  }

  #with(attributes: Attributes): Attributes {
    return { ...this.#options.attributes, ...attributes }
  }

  #count(meter: Meter): () => void {
    const restarts = meter.createCounter('vivarium.restarts', {
      description: 'Processes that were restarted by their supervisor or an operator.',
      unit: '{restart}',
    })
    const failures = meter.createCounter('vivarium.failures', {
      description: 'Failures of turns and processes, by class.',
      unit: '{failure}',
    })
    const deadLetters = meter.createCounter('vivarium.dead_letters', {
      description: 'Messages that were given up.',
      unit: '{message}',
    })
    return this.#options.bus.listen(
      ['process:restart', 'failure', 'dead-letter'],
      (event) => {
        const agent = agentOf(event)
        if (event.kind === 'process:restart') restarts.add(1, this.#with(agent))
        else if (event.kind === 'dead-letter') deadLetters.add(1, this.#with(agent))
        else failures.add(1, this.#with({ ...agent, 'vivarium.failure.class': event.class }))
      },
      'metrics of failures',
    )
  }

  #measureTurns(meter: Meter): () => void {
    const turns = meter.createCounter('vivarium.turns', { description: 'Messages handled.', unit: '{turn}' })
    const duration = meter.createHistogram('vivarium.turn.duration', {
      description: 'Time from taking a message to the end of its handler.',
      unit: 's',
      advice: { explicitBucketBoundaries: TURN_BUCKETS },
    })
    return this.#options.bus.listen(
      ['turn:stop'],
      (event) => {
        const attributes = this.#with({
          ...agentOf(event),
          'vivarium.op': event.op,
          'vivarium.turn.outcome': event.outcome,
        })
        turns.add(1, attributes)
        duration.record(event.durationMs / 1_000, attributes)
      },
      'metrics of turns',
    )
  }

  #measureCommits(meter: Meter): () => void {
    const rows = meter.createHistogram('vivarium.commit.rows', {
      description: 'Rows of a commit batch.',
      unit: '{row}',
      advice: { explicitBucketBoundaries: ROW_BUCKETS },
    })
    const duration = meter.createHistogram('vivarium.commit.duration', {
      description: 'Time from sending a commit batch to the answer of the store.',
      unit: 's',
      advice: { explicitBucketBoundaries: COMMIT_BUCKETS },
    })
    return this.#options.bus.listen(
      ['commit:stop'],
      (event) => {
        const attributes = this.#with({ 'vivarium.commit.outcome': event.outcome })
        rows.record(event.rows, attributes)
        duration.record(event.durationMs / 1_000, attributes)
      },
      'metrics of commits',
    )
  }

  #measureBlocks(meter: Meter): () => void {
    const duration = meter.createHistogram('vivarium.thread.block.duration', {
      description: 'Time for which code of one agent held the thread of all.',
      unit: 's',
      advice: { explicitBucketBoundaries: TURN_BUCKETS },
    })
    return this.#options.bus.listen(
      ['thread:block'],
      (event) => duration.record(event.durationMs / 1_000, this.#with(agentOf(event))),
      'metrics of blocks',
    )
  }

  /** What is read when a reader collects. */
  #observe(meter: Meter): (() => void)[] {
    const instruments = makeInstruments(meter)
    const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
    delay.enable()
    const read = (result: BatchObservableResult): void => this.#read(result, instruments, delay)
    const observed: Observable[] = Object.values(instruments)
    meter.addBatchObservableCallback(read, observed)
    return [() => meter.removeBatchObservableCallback(read, observed), () => void delay.disable()]
  }

  #read(result: BatchObservableResult, instruments: Instruments, delay: Delay): void {
    const statuses = new Map<ProcessStatus, number>(PROCESS_STATUSES.map((status) => [status, 0]))
    const mailboxes = new Map<string, { sum: number; max: number }>()
    this.#options.scan((row) => {
      if (row.hidden) return
      statuses.set(row.status, (statuses.get(row.status) ?? 0) + 1)
      if (row.agent === null) return
      const box = mailboxes.get(row.agent) ?? { sum: 0, max: 0 }
      mailboxes.set(row.agent, { sum: box.sum + row.mailbox, max: Math.max(box.max, row.mailbox) })
    })
    for (const [status, count] of statuses) {
      result.observe(instruments.processes, count, this.#with({ 'vivarium.process.status': status }))
    }
    for (const [agent, { sum, max }] of mailboxes) {
      const attributes = this.#with({ 'vivarium.agent': agent })
      result.observe(instruments.mailbox, sum, attributes)
      result.observe(instruments.mailboxMax, max, attributes)
    }
    const own = this.#with({})
    result.observe(instruments.delayP50, delaySeconds(delay, 50), own)
    result.observe(instruments.delayP99, delaySeconds(delay, 99), own)
    const { busy, queued } = this.#options.tasks()
    result.observe(instruments.tasks, busy, this.#with({ 'vivarium.compute.state': 'running' }))
    result.observe(instruments.tasks, queued, this.#with({ 'vivarium.compute.state': 'queued' }))
    result.observe(instruments.dropped, this.#options.droppedEvents(), own)
    delay.reset()
  }
}

type Delay = ReturnType<typeof monitorEventLoopDelay>
type Instruments = ReturnType<typeof makeInstruments>

function makeInstruments(meter: Meter) {
  return {
    processes: meter.createObservableUpDownCounter('vivarium.processes', {
      description: 'Processes in memory, by status.',
      unit: '{process}',
    }),
    mailbox: meter.createObservableUpDownCounter('vivarium.mailbox.messages', {
      description: 'Messages that wait, over all processes of an agent.',
      unit: '{message}',
    }),
    mailboxMax: meter.createObservableGauge('vivarium.mailbox.length.max', {
      description: 'Messages that wait in the fullest mailbox of an agent.',
      unit: '{message}',
    }),
    delayP50: meter.createObservableGauge('nodejs.eventloop.delay.p50', {
      description: 'Median delay of the event loop since the last collection.',
      unit: 's',
    }),
    delayP99: meter.createObservableGauge('nodejs.eventloop.delay.p99', {
      description: '99th percentile of the delay of the event loop since the last collection.',
      unit: 's',
    }),
    tasks: meter.createObservableUpDownCounter('vivarium.compute.tasks', {
      description: 'Tasks for threads: those that run and those that wait for one.',
      unit: '{task}',
    }),
    dropped: meter.createObservableCounter('vivarium.events.dropped', {
      description: 'Events that a listener could not take.',
      unit: '{event}',
    }),
  }
}

/** The histogram counts the interval between two looks as well; only what is above it is delay. */
function delaySeconds(delay: Delay, percentile: number): number {
  return Math.max(0, delay.percentile(percentile) / 1e6 - DELAY_RESOLUTION_MS) / 1_000
}

function agentOf(event: Extract<RuntimeEvent, { id: string }>): Attributes {
  return { 'vivarium.agent': splitId(event.id).agent }
}
