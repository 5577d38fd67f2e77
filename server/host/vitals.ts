/**
 * Vital signs of this node: measured when somebody looks, remembered while somebody keeps looking.
 *
 * Rates are differences between two looks, so the first look after a pause shows the mean of the pause.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { PROCESS_STATUSES, type ProcessStatus, type Vitals } from '../../shared/snapshot.ts'
import { statusOf } from '../kernel/row.ts'
import type { RuntimeCore } from '../runtime.ts'
import { GarbageWatch } from './garbage-watch.ts'

/** Looks kept: ten minutes at one a second. */
const HISTORY_MAX = 600
/** Ms between two looks at the least; a look in between gets the last one. */
const LOOK_MS = 900
/** Ms; finer costs more than it tells. */
const DELAY_RESOLUTION_MS = 20

type Totals = { at: number; turns: number; batches: number; rows: number; latencyMs: number; cpuUs: number }

/** Ms for which a count of the passive processes serves: it reads an index of the whole table. */
const COUNT_MS = 10_000

export class VitalSigns {
  readonly #core: RuntimeCore
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  readonly #garbage: GarbageWatch
  #loop = performance.eventLoopUtilization()
  #history: Vitals[] = []
  #before: Totals
  #last: Vitals | null = null
  #failures = 0
  #deadLetters = 0
  #restarts = 0
  #passive = 0
  #countedAt = Number.NEGATIVE_INFINITY
  #counting: Promise<void> | null = null
  readonly #stop: () => void
  /** Set by the feed: its own cost. */
  feed: () => Vitals['feed'] = () => ({ viewers: 0, bytesPerSecond: 0, dropped: 0, cpuPercent: 0 })

  constructor(core: RuntimeCore) {
    this.#core = core
    this.#delay.enable()
    this.#garbage = new GarbageWatch(core.clock)
    this.#before = this.#totals()
    this.#stop = core.bus.listen(['failure', 'dead-letter', 'process:restart'], (event) => {
      if (event.kind === 'failure') this.#failures += 1
      else if (event.kind === 'dead-letter') this.#deadLetters += 1
      else this.#restarts += 1
    })
  }

  close(): void {
    this.#stop()
    this.#delay.disable()
    this.#garbage.close()
  }

  history(): Vitals[] {
    return this.#history.slice()
  }

  /** Resolves once the passive processes were counted lately; else the last count stands. */
  counted(): Promise<void> {
    const { clock } = this.#core
    if (this.#counting !== null) return this.#counting
    if (clock.monotonic() - this.#countedAt < COUNT_MS) return Promise.resolve()
    this.#countedAt = clock.monotonic()
    this.#counting = this.#count().finally(() => {
      this.#counting = null
    })
    return this.#counting
  }

  async #count(): Promise<void> {
    const { backend, namespace } = this.#core
    try {
      this.#passive = await backend.handle.archive.passiveCount(namespace)
    } catch (error) {
      this.#core.complain('counting passive processes', error)
      return
    }
    const last = this.#last
    if (last !== null) this.#last = { ...last, processes: { ...last.processes, passive: this.#passive } }
  }

  now(): Vitals {
    const { clock } = this.#core
    void this.counted() // for the next look
    if (this.#last !== null && clock.now() - this.#last.at < LOOK_MS) return this.#last
    const totals = this.#totals()
    const vitals = this.#measure(totals, this.#before)
    this.#before = totals
    this.#last = vitals
    this.#history.push(vitals)
    if (this.#history.length > HISTORY_MAX) this.#history.shift()
    this.#delay.reset()
    return vitals
  }

  #thread(): Vitals['thread'] {
    const loop = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(loop, this.#loop)
    this.#loop = loop
    const { totalMs, maxMs } = this.#garbage.take()
    const held = this.#core.watch?.blocks.stats ?? { blocks: 0, blockedMs: 0, longest: null }
    return { utilisation: utilization, gcMs: totalMs, gcMaxMs: maxMs, ...held }
  }

  #totals(): Totals {
    const { kernel, layer, clock } = this.#core
    let turns = 0
    for (const process of kernel.all()) turns += process.stats.turns
    const { batches, rows, latencyMs } = layer.committer.stats
    const { user, system } = process.cpuUsage()
    return { at: clock.now(), turns, batches, rows, latencyMs, cpuUs: user + system }
  }

  #measure(now: Totals, before: Totals): Vitals {
    const { kernel, layer, node, startedAt } = this.#core
    const seconds = Math.max(0.001, (now.at - before.at) / 1_000)
    const batches = now.batches - before.batches
    const processes = Object.fromEntries(PROCESS_STATUSES.map((status) => [status, 0])) as Record<ProcessStatus, number>
    let mailbox = 0
    let total = 0
    for (const process of kernel.all()) {
      if (process.hidden) continue
      processes[statusOf(process)] += 1
      mailbox += process.mailboxLength
      total += 1
    }
    // In the store alone; `total` is of those in memory.
    processes.passive = this.#passive
    const memory = process.memoryUsage()
    return {
      at: now.at,
      node: node.name,
      uptimeMs: now.at - startedAt,
      processes,
      total,
      turns: now.turns,
      // Processes that left memory take their counts with them: a rate below 0 only says that.
      turnsPerSecond: Math.max(0, (now.turns - before.turns) / seconds),
      commitsPerSecond: batches / seconds,
      commitRowsPerBatch: batches === 0 ? 0 : (now.rows - before.rows) / batches,
      commitLatencyMs: batches === 0 ? 0 : (now.latencyMs - before.latencyMs) / batches,
      mailbox,
      restarts: this.#restarts,
      failures: this.#failures,
      deadLetters: this.#deadLetters,
      eventLoopDelayP99Ms: Math.max(0, this.#delay.percentile(99) / 1e6 - DELAY_RESOLUTION_MS),
      cpuPercent: ((now.cpuUs - before.cpuUs) / 1e6 / seconds) * 100,
      thread: this.#thread(),
      rssBytes: memory.rss,
      heapBytes: memory.heapUsed,
      store: layer.committer.up ? 'up' : 'down',
      feed: this.feed(),
    }
  }
}
