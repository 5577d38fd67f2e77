/**
 * Lists of processes: those in memory, and from the store the passive ones when they are asked for.
 *
 * - O1: nothing here waits for, wakes or calls into a process.
 * - One query language for both. Passive rows are read page by page and looked at here; only the best rows are kept.
 * - Pages are places in an order (row-order.ts), so a row that leaves between two pages moves no other row.
 */
import { RuntimeError } from '../../shared/error.ts'
import { type ProcessId, processNotFound } from '../../shared/id.ts'
import { matches, parseQuery, type Query, type QueryContext } from '../../shared/query.ts'
import type { ProcessRow, ProcessSort } from '../../shared/snapshot.ts'
import { recordOf } from '../journal/durable.ts'
import type { Process } from '../kernel/process.ts'
import { processRow } from '../kernel/row.ts'
import { PAGE_LIMIT_MAX, type Page, type ProcessQuery } from '../observe/inspect.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { ShownProcess } from '../store/archive.ts'
import { comparePlaces, cursorOf, type Order, type Place, placeAt, placeOf } from './row-order.ts'
import { asksForServices, isService, isServiceUnder, type Services } from './service.ts'
import { storedRow } from './stored-row.ts'

const PAGE_LIMIT = 100
/** Rows read from the store with one statement. */
const STORED_PAGE = 1_000
/** Passive rows looked at for one answer: a second or two of reading. */
const STORED_ROWS_MAX = 200_000
/** Levels of spawned parents that are looked up in the store; deeper trees are not grown. */
const ANCESTORS_MAX = 100

type ListOrder = Order & { sort: ProcessSort }
type Asked = { query: ProcessQuery; terms: Query | null; parents: Map<ProcessId, ProcessId | null> }
type Listed = Page<ProcessRow> & { total: number }

/** A process in memory; its state version is the one `state` tells. */
export function liveRow(core: RuntimeCore, process: Process): ProcessRow {
  const row = processRow(process, core.node.name)
  const sandbox = core.layer.ports.copies.get(process)
  if (sandbox !== undefined) row.sandbox = sandbox
  const kept = process.kind === 'supervisor' ? core.layer.book.committed(process.id) : core.layer.committed(process.id)
  if (kept === undefined) return row
  row.stateVersion = kept.seq
  row.durable = true
  return row
}

export class ProcessList {
  readonly #core: RuntimeCore
  readonly #services: Services

  constructor(core: RuntimeCore, services: Services) {
    this.#core = core
    this.#services = services
  }

  /** @throws REQUEST_INVALID PROCESS_NOT_FOUND */
  async page(query: ProcessQuery): Promise<Listed> {
    const order = { sort: query.sort ?? 'id', dir: query.dir ?? 'asc' } as const
    const after = query.cursor === undefined ? null : placeAt(order, query.cursor)
    const terms = query.q === undefined ? null : parseQuery(query.q)
    if (query.under !== undefined) await this.assertExists(query.under)
    const best = new Best(order, after, Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX))
    const parents = new Map<ProcessId, ProcessId | null>()
    const admit = this.#filter(query, terms, parents)
    if (query.status !== 'passive') this.#live(query, terms, (row) => admit(row) && best.add(row))
    if (query.status === 'passive' || terms?.passive === true) {
      await this.#passive({ query, terms, parents }, (row) => admit(row) && best.add(row))
    }
    const { items, total, cursor } = best.page()
    return { items: await this.settled(items), total, cursor }
  }

  /** In memory, in the store, or a part of the runtime. @throws PROCESS_NOT_FOUND */
  async assertExists(id: ProcessId): Promise<void> {
    if (isService(id) || this.#core.kernel.find(id) !== undefined) return
    const { backend, namespace } = this.#core
    if ((await backend.handle.archive.process(namespace, id)) === null) throw processNotFound(id)
  }

  /** Rows of processes that are in the store alone. */
  async stored(records: readonly ShownProcess[]): Promise<ProcessRow[]> {
    const { backend, namespace } = this.#core
    const counts = await backend.handle.archive.mailboxCounts(
      namespace,
      records.map(({ id }) => id),
    )
    return records.map((record) => {
      const mailbox = counts.get(record.id) ?? 0
      return storedRow(record, { mailbox, depth: this.#depthBelow(record.parent) })
    })
  }

  /** Durable processes that ended while their row stays in memory: their last rows are known to the store alone. */
  async settled<T extends ProcessRow>(rows: readonly T[]): Promise<T[]> {
    const { kernel, backend, namespace } = this.#core
    const out: T[] = []
    for (const row of rows) {
      const process = row.durable && row.status === 'exited' ? kernel.find(row.id) : undefined
      const gone = process?.kind === 'agent' && recordOf(process) === null
      const record = gone ? await backend.handle.archive.process(namespace, row.id) : null
      out.push(record === null ? row : { ...row, stateVersion: record.seq })
    }
    return out
  }

  #live(query: ProcessQuery, terms: Query | null, visit: (row: ProcessRow) => void): void {
    for (const process of this.#core.kernel.all()) {
      if (process.hidden && query.hidden !== true) continue
      if (query.agent === undefined || process.agent === query.agent) visit(liveRow(this.#core, process))
    }
    if (asksForServices(query, terms)) for (const row of this.#services.rows()) visit(row)
  }

  async #passive({ query, terms, parents }: Asked, visit: (row: ProcessRow) => void): Promise<void> {
    const { backend, namespace, kernel } = this.#core
    const { archive } = backend.handle
    const agent = query.agent === undefined ? {} : { agent: query.agent }
    const total = await archive.passiveCount(namespace, agent)
    if (total > STORED_ROWS_MAX) throw tooMany(total)
    const asksForPlace = query.under !== undefined || terms?.under === true
    let cursor: string | null = null
    do {
      const from: { cursor?: string } = cursor === null ? {} : { cursor }
      const page: Page<ShownProcess> = await archive.passive(namespace, { limit: STORED_PAGE, ...agent, ...from })
      // One that came to life since is in memory, and another row than this one.
      const records = page.items.filter(({ id }) => kernel.find(id) === undefined)
      if (asksForPlace) {
        for (const { id, parent } of records) parents.set(id, parent)
        for (const { parent } of records) await this.#learnAncestors(parent, parents)
      }
      for (const row of await this.stored(records)) visit(row)
      cursor = page.cursor
    } while (cursor !== null)
  }

  /** Parents of passive processes are mostly alive; one that spawned others may be passive itself. */
  async #learnAncestors(id: ProcessId | null, parents: Map<ProcessId, ProcessId | null>): Promise<void> {
    const { kernel, backend, namespace } = this.#core
    let at = id
    for (let level = 0; at !== null && level < ANCESTORS_MAX; level++) {
      if (kernel.find(at) !== undefined || parents.has(at)) return
      const parent: ProcessId | null = (await backend.handle.archive.process(namespace, at))?.parent ?? null
      parents.set(at, parent)
      at = parent
    }
  }

  #filter(query: ProcessQuery, terms: Query | null, parents: ReadonlyMap<ProcessId, ProcessId | null>) {
    const { kernel, clock } = this.#core
    const isUnder = (id: ProcessId, ancestor: ProcessId): boolean => {
      if (isService(id)) return isServiceUnder(id, ancestor)
      let at: ProcessId | null = id
      for (let level = 0; at !== null && level < ANCESTORS_MAX; level++) {
        if (at === ancestor) return true
        const process = kernel.find(at)
        at = process === undefined ? (parents.get(at) ?? null) : (process.parent?.id ?? null)
      }
      return false
    }
    const context: QueryContext = { now: clock.now(), isUnder }
    return (row: ProcessRow): boolean => {
      if (query.agent !== undefined && row.agent !== query.agent) return false
      if (query.under !== undefined && !isUnder(row.id, query.under)) return false
      if (query.status !== undefined && row.status !== query.status) return false
      return terms === null || matches(terms, row, context)
    }
  }

  #depthBelow(parent: ProcessId | null): number {
    const process = parent === null ? undefined : this.#core.kernel.find(parent)
    return process === undefined ? 0 : processRow(process, null).depth + 1
  }
}

/** The first rows after a place, out of any number that come in any order. */
class Best {
  readonly #order: ListOrder
  readonly #after: Place | null
  readonly #limit: number
  readonly #compare: (a: Place, b: Place) => number
  #kept: { row: ProcessRow; place: Place }[] = []
  #left = 0
  #total = 0

  constructor(order: ListOrder, after: Place | null, limit: number) {
    this.#order = order
    this.#after = after
    this.#limit = limit
    this.#compare = comparePlaces(order)
  }

  add(row: ProcessRow): void {
    this.#total++
    const place = placeOf(this.#order.sort, row)
    if (this.#after !== null && this.#compare(place, this.#after) <= 0) return
    this.#left++
    this.#kept.push({ row, place })
    if (this.#kept.length >= STORED_PAGE + 2 * this.#limit) this.#trim()
  }

  page(): Listed {
    this.#trim()
    const last = this.#kept.at(-1)
    const more = this.#left > this.#kept.length && last !== undefined
    const cursor = more ? cursorOf(this.#order, last.place) : null
    return { items: this.#kept.map(({ row }) => row), total: this.#total, cursor }
  }

  #trim(): void {
    this.#kept = this.#kept.sort((a, b) => this.#compare(a.place, b.place)).slice(0, this.#limit)
  }
}

function tooMany(total: number): RuntimeError {
  return new RuntimeError(
    'REQUEST_INVALID',
    `There are ${total} passive processes, at most ${STORED_ROWS_MAX} are looked through. ` +
      'Narrow the list with agent=NAME.',
  )
}
