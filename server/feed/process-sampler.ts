/**
 * The one sampler of process rows: a scan at a period, sooner when the tree changed; every viewer's list comes from it.
 *
 * - F3: rows keep their object while no field changed, so that nobody sends an unchanged row.
 * - F20: its own work takes at most SHARE_MAX of a core: where a scan is dear, scans are rarer (down to PERIOD_MS_MAX).
 * - Lists are computed once per scan and distinct view, orders once a second and distinct sort key.
 */
import type { EventKind } from '../../shared/event.ts'
import type { Problem, View } from '../../shared/frame.ts'
import type { ProcessId } from '../../shared/id.ts'
import { problemOf } from '../../shared/problem.ts'
import { PROCESS_STATUSES, type ProcessRow } from '../../shared/snapshot.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Inspect } from '../observe/inspect.ts'
import { Collector } from './collector.ts'
import type { CostMeter } from './cost.ts'
import { type Listing, type RowSource, same } from './row-source.ts'
import { asksForPassive, type Census, type Direction, listProcesses, type SortKey, viewKey } from './view.ts'

/** Milliseconds between scans: 2 Hz is as fast as people read numbers. */
const PERIOD_MS = 500
/** Milliseconds; slower than this a list no longer feels live. */
const PERIOD_MS_MAX = 2_000
/** Milliseconds between scans when the tree changes: births and deaths may show at 4 Hz. */
const TREE_PERIOD_MS = 250
/** Share of one core the scans may take. */
const SHARE_MAX = 0.02
/** Milliseconds between two sortings by the same changing field: rows that jump twice a second cannot be read. */
const RANK_MS = 1_000
/** Milliseconds between two readings of passive processes: these come from the database. */
const PASSIVE_MS = 10_000
const PASSIVE_MAX = 1_000

const TREE_EVENTS: readonly EventKind[] = [
  'process:start',
  'process:exit',
  'process:restart',
  'process:activate',
  'process:passivate',
  'process:suspend',
  'process:resume',
  'process:diverge',
  'supervisor:give-up',
]

type SamplerOptions = { clock: Clock; inspect: Inspect; cost: CostMeter; report: (error: unknown) => void }
type Order = { ids: readonly ProcessId[]; at: number; structure: number }
type Tree = { roots: readonly ProcessId[]; children: ReadonlyMap<ProcessId, readonly ProcessId[]> }

export class ProcessSampler extends Collector implements RowSource, Census {
  readonly loaded = true
  problem: Problem | null = null
  rows: ReadonlyMap<ProcessId, ProcessRow> = new Map()
  passive: readonly ProcessRow[] = []
  now = 0
  readonly #clock: Clock
  readonly #inspect: Inspect
  readonly #cost: CostMeter
  readonly #report: (error: unknown) => void
  readonly #orders = new Map<string, Order>()
  readonly #listings = new Map<string, Listing>()
  readonly #sortNames = new Map<ProcessId, string>()
  #tree: Tree = { roots: [], children: new Map() }
  /** Raised whenever an id comes, goes or moves. */
  #structure = 0
  #timer: Timer | null = null
  #unlisten: (() => void) | null = null
  #scannedAt = 0
  /** Processor time of the last scan. */
  #scanMs = 0
  #early = false
  #passiveAt = Number.NEGATIVE_INFINITY
  #stopped = false
  #failed = false

  constructor(options: SamplerOptions) {
    super()
    this.#clock = options.clock
    this.#inspect = options.inspect
    this.#cost = options.cost
    this.#report = options.report
  }

  start(): void {
    this.#unlisten = this.#inspect.listen(TREE_EVENTS, () => this.#hurry())
    this.#scan()
  }

  stop(): void {
    this.#stopped = true
    this.#unlisten?.()
    this.#timer?.cancel()
  }

  get roots(): readonly ProcessId[] {
    return this.#tree.roots
  }

  childrenOf(id: ProcessId): readonly ProcessId[] {
    return this.#tree.children.get(id) ?? []
  }

  has(id: ProcessId): boolean {
    return this.rows.has(id) || this.passive.some((row) => row.id === id)
  }

  list(view: View): Listing {
    if (asksForPassive(view)) void this.#readPassive()
    const key = viewKey(view)
    const known = this.#listings.get(key)
    if (known !== undefined) return known
    const listing = this.#cost.measure(() => listProcesses(this, view))
    this.#listings.set(key, listing)
    return listing
  }

  order(sort: SortKey, direction: Direction): readonly ProcessId[] {
    const key = `${sort} ${direction}`
    const known = this.#orders.get(key)
    const at = this.#clock.monotonic()
    // Ids do not change; everything else is ranked anew, but not for every viewer and not at every scan.
    const fresh = known !== undefined && (sort === 'id' || at - known.at < RANK_MS)
    if (known !== undefined && fresh && known.structure === this.#structure) return known.ids
    const ids = this.#sorted(sort, direction)
    this.#orders.set(key, { ids, at, structure: this.#structure })
    return ids
  }

  #scan(): void {
    const began = this.#cost.cpuMs()
    try {
      this.#cost.measure(() => this.#read())
      if (this.#failed) this.problem = null
      this.#failed = false
    } catch (error) {
      this.#failed = true
      this.problem = problemOf(error)
      this.#report(error)
    }
    this.#scannedAt = this.#clock.monotonic()
    this.#scanMs = this.#cost.cpuMs() - began
    this.#early = false
    this.#schedule(Math.min(PERIOD_MS_MAX, Math.max(PERIOD_MS, this.#scanMs / SHARE_MAX)))
    this.changed()
  }

  #schedule(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(ms, () => this.#scan())
    this.#timer.keepAlive(false)
  }

  /** Something was born, died or turned: look sooner than planned, as far as the share allows. */
  #hurry(): void {
    if (this.#early || this.#stopped) return
    this.#early = true
    const pause = Math.max(TREE_PERIOD_MS, Math.min(PERIOD_MS_MAX, this.#scanMs / SHARE_MAX))
    this.#schedule(Math.max(0, this.#scannedAt + pause - this.#clock.monotonic()))
  }

  #read(): void {
    const before = this.rows
    const next = new Map<ProcessId, ProcessRow>()
    let moved = false
    this.#inspect.scan((row) => {
      const known = before.get(row.id)
      if (known !== undefined && sameProcess(known, row)) {
        next.set(row.id, known)
        return
      }
      next.set(row.id, row)
      if (known === undefined || known.parent !== row.parent) moved = true
    })
    if (next.size !== before.size) moved = true
    this.rows = next
    this.now = this.#clock.now()
    if (moved) this.#restructure()
    // Queries may ask for ages, so lists are computed anew even when no row changed; rows are still sent only when new.
    this.#listings.clear()
  }

  #restructure(): void {
    this.#structure++
    for (const id of this.#sortNames.keys()) if (!this.rows.has(id)) this.#sortNames.delete(id)
    const children = new Map<ProcessId, ProcessId[]>()
    const roots: ProcessId[] = []
    for (const id of this.order('id', 'asc')) {
      const parent = this.rows.get(id)?.parent ?? null
      if (parent === null || parent === id || !this.rows.has(parent)) roots.push(id)
      else {
        const siblings = children.get(parent)
        if (siblings === undefined) children.set(parent, [id])
        else siblings.push(id)
      }
    }
    this.#tree = { roots, children }
  }

  #sorted(sort: SortKey, direction: Direction): ProcessId[] {
    const factor = direction === 'asc' ? 1 : -1
    if (sort === 'id') {
      const named = Array.from(this.rows.keys(), (id): [string, ProcessId] => [this.#sortName(id), id])
      return named.sort(([a], [b]) => (a < b ? -factor : a > b ? factor : 0)).map(([, id]) => id)
    }
    // Equal values keep the order of ids, so that a list of zeros does not shuffle.
    const ids = [...this.order('id', 'asc')]
    const values = new Map(ids.map((id) => [id, this.#value(sort, id)]))
    return ids.sort((a, b) => ((values.get(a) ?? 0) - (values.get(b) ?? 0)) * factor)
  }

  #value(sort: Exclude<SortKey, 'id'>, id: ProcessId): number {
    const row = this.rows.get(id)
    if (row === undefined) return 0
    return sort === 'status' ? PROCESS_STATUSES.indexOf(row.status) : row[sort]
  }

  /** Digits padded, so that `order/9` comes before `order/10`. */
  #sortName(id: ProcessId): string {
    const known = this.#sortNames.get(id)
    if (known !== undefined) return known
    const name = id.replace(/\d+/g, (digits) => digits.padStart(12, '0'))
    this.#sortNames.set(id, name)
    return name
  }

  async #readPassive(): Promise<void> {
    const at = this.#clock.monotonic()
    if (at - this.#passiveAt < PASSIVE_MS) return
    this.#passiveAt = at
    try {
      const { items } = await this.#inspect.processes({ status: 'passive', limit: PASSIVE_MAX })
      const known = new Map(this.passive.map((row) => [row.id, row]))
      this.passive = items.map((row) => {
        const before = known.get(row.id)
        return before !== undefined && same(before, row) ? before : row
      })
      this.problem = null
      this.#listings.clear()
    } catch (error) {
      this.problem = problemOf(error) // live rows go on; the next reading takes it back
    }
    if (!this.#stopped) this.changed()
  }
}

/** As `same`, field by field: it runs for every process at every scan. */
function sameProcess(a: ProcessRow, b: ProcessRow): boolean {
  return (
    a.status === b.status &&
    a.turns === b.turns &&
    a.busyMs === b.busyMs &&
    a.mailbox === b.mailbox &&
    a.since === b.since &&
    a.stateVersion === b.stateVersion &&
    a.incarnation === b.incarnation &&
    a.restarts === b.restarts &&
    a.failures === b.failures &&
    a.children === b.children &&
    a.parent === b.parent &&
    a.depth === b.depth &&
    a.hidden === b.hidden &&
    a.node === b.node &&
    a.kind === b.kind &&
    a.agent === b.agent &&
    a.durable === b.durable &&
    a.strategy === b.strategy &&
    sameWait(a.wait, b.wait)
  )
}

function sameWait(a: ProcessRow['wait'], b: ProcessRow['wait']): boolean {
  if (a === null || b === null) return a === b
  return (
    a.kind === b.kind &&
    a.target === b.target &&
    a.since === b.since &&
    a.deadline === b.deadline &&
    a.attempt === b.attempt &&
    a.progress === b.progress
  )
}
