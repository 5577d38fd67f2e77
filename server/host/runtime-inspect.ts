/**
 * The read side of a runtime: kernel objects in memory first, the archive for what is not there.
 *
 * - O1: nothing here waits for, wakes or calls into a process.
 * - O2: every list is bounded; lists of processes are in process-list.ts.
 */
import type { Diagnosis } from '../../shared/doctor.ts'
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import type { Verb } from '../../shared/frame.ts'
import { type ProcessId, processNotFound } from '../../shared/id.ts'
import type { ProcessFile } from '../../shared/process-file.ts'
import type { RecordedProcess } from '../../shared/recorded.ts'
import type {
  AuditItem,
  BlastRadius,
  DeadLetter,
  FailureRecord,
  JournalItem,
  MailboxItem,
  Need,
  ProcessDetail,
  ProcessRow,
  StateSnapshot,
  Vitals,
} from '../../shared/snapshot.ts'
import { copy, encodeCopied, type Value } from '../../shared/value.ts'
import { recordOf } from '../journal/durable.ts'
import type { DurableRecord, OpenTurn } from '../journal/record.ts'
import type { Process } from '../kernel/process.ts'
import { type KernelDetail, kernelDetail, mailboxItems } from '../kernel/row.ts'
import { type Inspect, type NodeView, PAGE_LIMIT_MAX, type Page, type ProcessQuery } from '../observe/inspect.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { MessageRow, ProcessRecord } from '../store/store.ts'
import { blastRadius, callersOf, passiveRadius } from './blast-radius.ts'
import { divergenceView, storedDivergence } from './divergence-view.ts'
import { diagnose, doctorFacts, nodeState } from './doctor.ts'
import { journalItem } from './journal-item.ts'
import { needsOf } from './need.ts'
import { answerable, openTurn, ParkedTurns } from './open-turn.ts'
import { pastState } from './past-state.ts'
import { exportFile } from './process-file.ts'
import { liveRow, ProcessList } from './process-list.ts'
import { recordedProcess } from './recorded.ts'
import { cursorOf, type Order, placeAt } from './row-order.ts'
import { noSandbox, nothingToAnswer } from './sandbox-desk.ts'
import { isService, refuseService, Services } from './service.ts'
import { storedDetail } from './stored-row.ts'
import { isTurnVerb, type TurnVerb, turnRadius } from './turn-radius.ts'
import { VitalSigns } from './vitals.ts'

const PAGE_LIMIT = 100
/** Failures of one commit have one time, so a place among them is a time and an id. */
const FAILURE_ORDER: Order = { sort: 'at', dir: 'desc' }
/** Characters of a stored message body shown in a list. */
const PREVIEW_CHARACTERS = 500

export class RuntimeInspect implements Inspect {
  readonly #core: RuntimeCore
  readonly #services: Services
  readonly signs: VitalSigns
  readonly #list: ProcessList
  readonly #parked: ParkedTurns
  readonly #sizes = new WeakMap<DurableRecord, { value: Value; bytes: number }>()

  constructor(core: RuntimeCore) {
    this.#core = core
    this.signs = new VitalSigns(core)
    this.#services = new Services(core, () => this.signs.feed())
    this.#list = new ProcessList(core, this.#services)
    this.#parked = new ParkedTurns(core.backend.handle.archive)
  }

  processes(query: ProcessQuery): Promise<Page<ProcessRow> & { total: number }> {
    return this.#list.page(query)
  }

  scan(visit: (row: ProcessRow) => void): void {
    for (const process of this.#core.kernel.all()) visit(this.#row(process))
    for (const row of this.#services.rows()) visit(row)
  }

  treeVersion(): number {
    return this.#core.kernel.treeVersion
  }

  async process(id: ProcessId): Promise<ProcessDetail | null> {
    const process = this.#core.kernel.find(id)
    if (process !== undefined && !isLoading(process)) {
      const [detail] = await this.#list.settled([this.#detail(process)])
      return detail ?? null
    }
    if (isService(id)) return this.#services.detail(id)
    const { namespace, backend } = this.#core
    const { archive } = backend.handle
    const record = await archive.process(namespace, id)
    if (process !== undefined && record?.desired !== 'stopped') {
      return { ...this.#detail(process), ...(record === null ? {} : knownOf(record)) }
    }
    if (record === null) return null
    const [row] = await this.#list.stored([record])
    if (row === undefined) return null
    const ties = await archive.ties(namespace, record.pid)
    const divergence = await storedDivergence(archive, record)
    const parked = await this.#parked.view(record)
    const detail = storedDetail(row, { record, ties, ops: this.#ops(record.agent) })
    return { ...detail, ...parked, ...divergenceView(divergence) }
  }

  async state(id: ProcessId, query: { version?: number } = {}): Promise<StateSnapshot> {
    if (query.version !== undefined) return pastState(this.#core, id, query.version)
    const process = this.#core.kernel.find(id)
    if (isService(id)) return this.#services.state(id)
    if (process?.kind === 'supervisor') return this.#treeState(process)
    if (process !== undefined && !process.durable) {
      const value = process.kind === 'agent' ? copy(process.state ?? null) : null
      return { version: process.stats.stateVersion, value, seq: null, at: process.stats.since }
    }
    const { value, seq, at } = await this.#core.queries.committed(id)
    return { version: seq, value, seq, at }
  }

  /** As its row says, whichever node owns it; null while nothing is stored. */
  async #treeState({ id, stats }: Process): Promise<StateSnapshot> {
    try {
      const { value, seq, at } = await this.#core.queries.committed(id)
      return { version: seq, value, seq, at }
    } catch (error) {
      if (!isRuntimeError(error, 'PROCESS_NOT_FOUND')) throw error
      return { version: 0, value: null, seq: null, at: stats.since }
    }
  }

  exportProcess(id: ProcessId): Promise<ProcessFile> {
    return exportFile(this.#core, id)
  }

  async mailbox(
    id: ProcessId,
    query: { after?: string; limit?: number },
  ): Promise<Page<MailboxItem> & { total: number }> {
    const limit = Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX)
    const from = positionOf(query.after)
    const process = this.#core.kernel.find(id)
    // The mailbox of a durable process that is down, or not up yet, is in the store.
    const absent = process?.durable === true && recordOf(process) === null
    if (process !== undefined && !absent) {
      const items = mailboxItems(process, from, limit)
      const total = process.mailboxLength
      return { items, total, cursor: from + limit < total ? String(from + limit) : null }
    }
    if (isService(id)) return { items: [], total: 0, cursor: null }
    await this.#list.assertExists(id)
    const { archive } = this.#core.backend.handle
    const rows = await archive.mailbox(this.#core.namespace, id, { limit, afterOrd: from })
    const total = (await archive.mailboxCounts(this.#core.namespace, [id])).get(id) ?? rows.length
    const last = rows.at(-1)
    return {
      items: rows.map(rowItem),
      total,
      cursor: rows.length === limit && last !== undefined ? String(last.ord) : null,
    }
  }

  async journal(id: ProcessId, query: { before?: number; limit?: number }): Promise<Page<JournalItem>> {
    const limit = Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX)
    const { archive } = this.#core.backend.handle
    const process = this.#core.kernel.find(id)
    const pid = process === undefined ? null : (recordOf(process)?.pid ?? null)
    const known = pid ?? (await archive.process(this.#core.namespace, id))?.pid ?? null
    if (known === null) {
      if (process === undefined && !isService(id)) throw processNotFound(id)
      return { items: [], cursor: null }
    }
    const rows = await archive.journal(known, {
      limit,
      ...(query.before === undefined ? {} : { beforeSeq: query.before }),
    })
    const last = rows.at(-1)
    return {
      items: rows.map(journalItem),
      cursor: rows.length === limit && last !== undefined ? String(last.seq) : null,
    }
  }

  async recorded(id: ProcessId): Promise<RecordedProcess> {
    const { archive } = this.#core.backend.handle
    const record = await archive.process(this.#core.namespace, id)
    if (record === null) throw processNotFound(id)
    return recordedProcess(archive, id, record)
  }

  async failures(query: { process?: ProcessId; before?: string; limit?: number }): Promise<Page<FailureRecord>> {
    const { process, before } = query
    const limit = Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX)
    const place = before === undefined ? null : placeAt(FAILURE_ORDER, before, 'before')
    if (process !== undefined) await this.#list.assertExists(process)
    const items = await this.#core.backend.handle.archive.failures(this.#core.namespace, {
      limit,
      ...(process === undefined ? {} : { process }),
      ...(place === null ? {} : { before: { at: Number(place.value), id: place.id } }),
    })
    const last = items.at(-1)
    if (items.length < limit || last === undefined) return { items, cursor: null }
    return { items, cursor: cursorOf(FAILURE_ORDER, { value: last.at, id: last.id }) }
  }

  async deadLetters(query: { process?: ProcessId; limit?: number }): Promise<Page<DeadLetter>> {
    const limit = Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX)
    const items = await this.#core.backend.handle.archive.deadLetters(this.#core.namespace, { ...query, limit })
    return { items, cursor: null }
  }

  async audit(query: { target?: string; limit?: number }): Promise<Page<AuditItem>> {
    const limit = Math.min(query.limit ?? PAGE_LIMIT, PAGE_LIMIT_MAX)
    return {
      items: await this.#core.backend.handle.archive.audit(this.#core.namespace, { ...query, limit }),
      cursor: null,
    }
  }

  vitals(): Vitals {
    return this.signs.now()
  }

  counted(): Promise<void> {
    return this.signs.counted()
  }

  vitalsHistory(): Vitals[] {
    return this.signs.history()
  }

  async needs(): Promise<Need[]> {
    const letters = await this.#core.backend.handle.archive.deadLetters(this.#core.namespace, { limit: 20 })
    return needsOf(this.#core, letters)
  }

  async doctor(): Promise<Diagnosis> {
    const { backend, namespace, node, kernel } = this.#core
    const facts = await doctorFacts(backend.handle, namespace)
    const status = (id: ProcessId): ProcessRow['status'] | null => {
      const process = kernel.find(id)
      return process === undefined ? null : this.#row(process).status
    }
    return diagnose(facts, { name: node.name, status, needs: needsOf(this.#core, []) })
  }

  async nodes(): Promise<NodeView[]> {
    const { node, namespace, clock, clockOffset, kernel } = this.#core
    const now = clock.now() + clockOffset
    return (await this.#core.backend.handle.store.nodes(namespace)).map((row) => ({
      id: row.name,
      epoch: row.epoch,
      host: row.host,
      startedAt: row.startedAt,
      leaseUntil: row.leaseUntil,
      state: nodeState(row, now),
      self: row.id === node.id && row.epoch === node.epoch,
      processes: row.id === node.id && row.epoch === node.epoch ? kernel.size : 0,
    }))
  }

  async plan(verb: Verb, id: ProcessId): Promise<BlastRadius> {
    refuseService(verb, id)
    const process = this.#core.kernel.find(id)
    if (isTurnVerb(verb)) return this.#turnPlan(verb, id)
    if (process === undefined) return this.#passivePlan(verb, id)
    const attempts = process.agent === null ? 1 : (this.#core.tree.agent(process.agent)?.maxAttempts ?? 1)
    return blastRadius(this.#core.kernel, verb, process, attempts)
  }

  /** @throws PROCESS_NOT_FOUND REQUEST_INVALID */
  async #turnPlan(verb: TurnVerb, id: ProcessId): Promise<BlastRadius> {
    const [detail, open] = [await this.process(id), await openTurn(this.#core, id)]
    if (detail === null) throw processNotFound(id)
    const { durable, kind, sandbox, incarnation, mailbox } = detail
    if (!durable || kind !== 'agent') throw noJournal(id, kind)
    const list = detail.answerable ?? []
    if (verb === 'answer' && sandbox === undefined && list.length === 0) throw nothingToAnswer(id)
    if (verb === 'discard' && sandbox === undefined) throw noSandbox(id)
    const { kernel } = this.#core
    const process = kernel.find(id) ?? null
    const callers = callersOf(kernel, id)
    const waiting = mailbox - (process === null && open !== null ? await this.#rowsOf(id, open) : 0)
    return turnRadius(verb, { id, incarnation, process, open, answerable: list, waiting, callers })
  }

  /** Rows of the message in hand: a stored mailbox counts it, where it has one. */
  async #rowsOf(id: ProcessId, { turn }: OpenTurn): Promise<number> {
    const { namespace, backend } = this.#core
    const rows = await backend.handle.archive.mailbox(namespace, id, { limit: PAGE_LIMIT })
    return rows.filter((row) => row.id === turn).length
  }

  async #passivePlan(verb: Verb, id: ProcessId): Promise<BlastRadius> {
    const { archive } = this.#core.backend.handle
    const record = await archive.process(this.#core.namespace, id)
    if (record === null) throw processNotFound(id)
    const waiting = (await archive.mailboxCounts(this.#core.namespace, [id])).get(id) ?? 0
    return passiveRadius(verb, record, waiting)
  }

  recent(limit: number, process?: ProcessId): RuntimeEvent[] {
    return this.#core.ring.recent(limit, process)
  }

  listen(kinds: readonly EventKind[] | 'all', listener: (event: RuntimeEvent) => void): () => void {
    return this.#core.bus.listen(kinds, listener)
  }

  ready(): { ready: boolean; reasons: string[] } {
    const reasons: string[] = []
    const { state, tree, layer } = this.#core
    if (state !== 'running') reasons.push(`the node is ${state}`)
    if (!layer.committer.up) reasons.push('the database does not answer')
    if (tree.root !== null && !tree.root.alive) reasons.push(`the root supervisor ${tree.root.id} is down`)
    return { ready: reasons.length === 0, reasons }
  }

  #row(process: Process): ProcessRow {
    return liveRow(this.#core, process)
  }

  #ops(agent: string | null): ProcessDetail['ops'] {
    const entry = agent === null || this.#core.tree.agent(agent) === null ? null : this.#core.entry(agent)
    if (entry === null) return []
    const { handlers, queries } = entry.code
    return [
      ...[...handlers.keys()].map((name) => ({ name, kind: 'handler' as const })),
      ...[...queries.keys()].map((name) => ({ name, kind: 'query' as const })),
    ]
  }

  #detail(process: Process): ProcessDetail {
    const record = recordOf(process)
    const { kernel, clock } = this.#core
    return {
      ...this.#row(process),
      ...withTies(kernelDetail(process, clock.monotonic(), kernel.names.keys(process)), record),
      desired: process.ties?.retired === true ? 'stopped' : process.suspended ? 'suspended' : 'running',
      ops: this.#ops(process.agent),
      placement: 'shared',
      stateBytes: record === null ? null : this.#bytesOf(record),
      ...divergenceView(process.status === 'diverged' ? (record?.divergence ?? null) : null),
      ...(record === null ? {} : answerable(record)),
    }
  }

  /** Measured once per committed value: a detail view asks twice a second, a state may have megabytes. */
  #bytesOf(record: DurableRecord): number {
    const known = this.#sizes.get(record)
    if (known !== undefined && known.value === record.acked) return known.bytes
    const size = { value: record.acked, bytes: encodeCopied(record.acked).length }
    this.#sizes.set(record, size)
    return size.bytes
  }

  close(): void {
    this.signs.close()
  }
}

/** @throws REQUEST_INVALID */
function positionOf(after: string | undefined): number {
  if (after === undefined) return 0
  if (/^\d{1,15}$/.test(after)) return Number(after)
  throw new RuntimeError('REQUEST_INVALID', `after is ${JSON.stringify(after)}; use the cursor of the page before.`)
}

function kindOf(kind: MessageRow['kind']): MailboxItem['kind'] {
  if (kind === 'withdraw' || kind === 'cancel') return 'signal'
  return kind === 'exit' || kind === 'down' || kind === 'topic' ? 'info' : kind
}

function rowItem(row: MessageRow, position: number): MailboxItem {
  return {
    messageId: row.id,
    position,
    kind: kindOf(row.kind),
    op: row.op,
    from: row.sender,
    at: row.at,
    bytes: row.args.length,
    attempts: row.attempts,
    preview: row.args.slice(0, PREVIEW_CHARACTERS),
  }
}

/** Ties and names of a durable process are rows; those with ephemeral processes the kernel has as well. */
function withTies(detail: KernelDetail, record: DurableRecord | null): KernelDetail {
  if (record === null || record.ties === null) return detail
  const ties = [...record.ties.ties()].filter((tie) => !tie.ephemeral)
  const peers = (kind: 'link' | 'monitor'): string[] => ties.flatMap((tie) => (tie.kind === kind ? [tie.peer] : []))
  return {
    ...detail,
    names: [...detail.names, ...record.ties.names],
    links: [...detail.links, ...peers('link')],
    monitors: [...detail.monitors, ...peers('monitor')],
  }
}

function noJournal(id: ProcessId, kind: ProcessRow['kind']): RuntimeError {
  const text = kind === 'agent' ? 'is an ephemeral agent' : `is a ${kind}`
  return new RuntimeError('REQUEST_INVALID', `${id} ${text}; it keeps no journal that could be acted on.`)
}

/** What one that is still being read does not say of itself. */
function knownOf({ incarnation, desired, sandbox }: ProcessRecord): Partial<ProcessDetail> {
  return { incarnation, desired, ...(sandbox === null ? {} : { sandbox }) }
}

/** A durable process that is being read from the store knows nothing of itself yet. */
function isLoading(process: Process): boolean {
  return process.durable && process.status === 'starting' && recordOf(process) === null
}
