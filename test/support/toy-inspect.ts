/**
 * A small world in memory behind Inspect and Control, for tests of the surfaces: processes that live and die when told
 * to, events that are really emitted, verbs that really act. It knows nothing of HTTP or the feed.
 */

import type { Act, ActResult, Control, SandboxAnswer } from '../../server/control.ts'
import type { Inspect, ProcessQuery } from '../../server/observe/inspect.ts'
import type { Finding } from '../../shared/doctor.ts'
import { RuntimeError } from '../../shared/error.ts'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import { splitId } from '../../shared/id.ts'
import type { ProcessFile } from '../../shared/process-file.ts'
import { matches, parseQuery } from '../../shared/query.ts'
import { RECORDED_FORMAT, RECORDED_VERSION, type RecordedProcess } from '../../shared/recorded.ts'
import {
  type AuditItem,
  type DeadLetter,
  type FailureRecord,
  type JournalItem,
  type MailboxItem,
  type Need,
  PROCESS_STATUSES,
  type ProcessDetail,
  type ProcessRow,
  type ProcessStatus,
  type Vitals,
} from '../../shared/snapshot.ts'
import { copy, type Value } from '../../shared/value.ts'

type Listener = { kinds: readonly EventKind[] | 'all'; listener: (event: RuntimeEvent) => void }
type Told = RuntimeEvent extends infer E ? (E extends { at: number } ? Omit<E, 'at'> : never) : never

/** Operations every agent of the world has. `add` counts up and replies; `forget` replies nothing. */
const OPS = ['add', 'forget', 'echo'] as const

export class ToyWorld implements Inspect, Control {
  readonly rows = new Map<string, ProcessRow>()
  readonly states = new Map<string, { version: number; value: Value }>()
  readonly mailboxes = new Map<string, MailboxItem[]>()
  readonly journals = new Map<string, JournalItem[]>()
  readonly failureRecords: FailureRecord[] = []
  readonly deadLetterRecords: DeadLetter[] = []
  readonly auditItems: AuditItem[] = []
  readonly needItems: Need[] = []
  readonly findings: Finding[] = []
  readonly events: RuntimeEvent[] = []
  readonly reads = { scan: 0, vitals: 0, process: 0, needs: 0, mailbox: 0, journal: 0 }
  /** Pools that start an unseen key on its first message. */
  readonly pools = new Set<string>()
  storeUp = true
  #tree = 0
  #serial = 0
  readonly #listeners = new Set<Listener>()

  get listeners(): number {
    return this.#listeners.size
  }

  add(id: string, more: Partial<ProcessRow> = {}): ProcessRow {
    const parent = more.parent === undefined ? null : this.rows.get(more.parent ?? '')
    const row: ProcessRow = {
      id,
      kind: 'agent',
      agent: splitId(id).agent,
      parent: null,
      status: 'idle',
      incarnation: 1,
      mailbox: 0,
      turns: 0,
      busyMs: 0,
      restarts: 0,
      wait: null,
      stateVersion: 0,
      durable: true,
      depth: parent ? parent.depth + 1 : 0,
      children: 0,
      failures: 0,
      since: 1_000,
      strategy: null,
      node: 'toy',
      hidden: false,
      ...more,
    }
    this.rows.set(id, row)
    if (parent) parent.children++
    this.#tree++
    const { kind: processKind, agent, incarnation } = row
    this.emit({ kind: 'process:start', id, incarnation, processKind, agent, parent: row.parent })
    return row
  }

  /** Ends it without a restart. */
  end(id: string): void {
    const row = this.#row(id)
    const parent = row.parent === null ? undefined : this.rows.get(row.parent)
    if (parent) parent.children--
    this.rows.delete(id)
    this.#tree++
    this.emit({
      kind: 'process:exit',
      id,
      incarnation: row.incarnation,
      reason: 'normal',
      restarts: false,
      error: null,
    })
  }

  set(id: string, change: Partial<ProcessRow>): void {
    Object.assign(this.#row(id), change)
  }

  emit(event: Told): void {
    const full = { ...event, at: this.#serial++ } as RuntimeEvent // the parts are those of one member of the union
    this.events.push(full)
    if (this.events.length > 1_000) this.events.shift()
    for (const { kinds, listener } of this.#listeners) if (kinds === 'all' || kinds.includes(full.kind)) listener(full)
  }

  // Inspect

  async processes(query: ProcessQuery) {
    const parsed = parseQuery(query.q ?? '')
    const context = { now: 1_000, isUnder: (id: string, ancestor: string) => this.#isUnder(id, ancestor) }
    const found = [...this.rows.values()]
      .filter((row) => (query.status === 'passive') === (row.status === 'passive'))
      .filter((row) => query.status === undefined || row.status === query.status)
      .filter((row) => query.agent === undefined || row.agent === query.agent)
      .filter((row) => query.under === undefined || this.#isUnder(row.id, query.under))
      .filter((row) => matches(parsed, row, context))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    const rest = query.cursor === undefined ? found : found.filter((row) => row.id > (query.cursor ?? ''))
    const items = rest.slice(0, query.limit ?? 100)
    return { items, total: found.length, cursor: rest.length > items.length ? (items.at(-1)?.id ?? null) : null }
  }

  scan(visit: (row: ProcessRow) => void): void {
    this.reads.scan++
    for (const row of this.rows.values()) if (row.status !== 'passive') visit({ ...row })
  }

  treeVersion(): number {
    return this.#tree
  }

  async process(id: string): Promise<ProcessDetail | null> {
    this.reads.process++
    const row = this.rows.get(id)
    if (row === undefined) return null
    return {
      ...row,
      key: splitId(id).key,
      names: [],
      links: [],
      monitors: [],
      monitoredBy: [],
      trapExit: false,
      desired: row.status === 'suspended' ? 'suspended' : 'running',
      startedAt: 1_000,
      lastExit: null,
      supervisor: null,
      ops: OPS.map((name) => ({ name, kind: 'handler' as const })),
      mailboxLimit: 1_000,
      placement: 'shared',
      stateBytes: null,
      current: null,
    }
  }

  async recorded(id: string): Promise<RecordedProcess> {
    const { agent } = this.#row(id)
    return { format: RECORDED_FORMAT, version: RECORDED_VERSION, id, agent: agent ?? '', snapshot: null, journal: [] }
  }

  async state(id: string) {
    this.#row(id)
    const { version, value } = this.states.get(id) ?? { version: 0, value: null }
    return { version, value, seq: null, at: null }
  }

  async mailbox(id: string, { limit = 100 }: { after?: string; limit?: number }) {
    this.reads.mailbox++
    this.#row(id)
    const all = this.mailboxes.get(id) ?? []
    return { items: all.slice(0, limit), total: all.length, cursor: null }
  }

  async journal(id: string, { before = Number.POSITIVE_INFINITY, limit = 100 }: { before?: number; limit?: number }) {
    this.reads.journal++
    const all = (this.journals.get(id) ?? []).filter((item) => item.seq < before).toReversed()
    return { items: all.slice(0, limit), cursor: null }
  }

  async failures({ process, limit = 100 }: { process?: string; before?: string; limit?: number }) {
    const all = this.failureRecords.filter((record) => process === undefined || record.process === process).toReversed()
    return { items: all.slice(0, limit), cursor: null }
  }

  async deadLetters({ limit = 100 }: { process?: string; limit?: number }) {
    return { items: this.deadLetterRecords.slice(0, limit), cursor: null }
  }

  async audit({ limit = 100 }: { target?: string; limit?: number }) {
    return { items: this.auditItems.toReversed().slice(0, limit), cursor: null }
  }

  vitals(): Vitals {
    this.reads.vitals++
    const none = PROCESS_STATUSES.map((status): [ProcessStatus, number] => [status, 0])
    const processes = Object.fromEntries(none) as Record<ProcessStatus, number> // every status is listed
    for (const row of this.rows.values()) processes[row.status]++
    const zero = { turns: 0, turnsPerSecond: 0, commitsPerSecond: 0, commitRowsPerBatch: 0, commitLatencyMs: 0 }
    const load = { eventLoopDelayP99Ms: 0, cpuPercent: 0, rssBytes: 1, heapBytes: 1, mailbox: 0, restarts: 0 }
    const thread = { utilisation: 0, gcMs: 0, gcMaxMs: 0, blocks: 0, blockedMs: 0, longest: null }
    const feed = { viewers: 0, bytesPerSecond: 0, dropped: 0, cpuPercent: 0 }
    const store = this.storeUp ? ('up' as const) : ('down' as const)
    const rest = { failures: this.failureRecords.length, deadLetters: this.deadLetterRecords.length, feed, store }
    const head = { at: this.reads.vitals, node: 'toy', uptimeMs: 1, total: this.rows.size }
    return { ...head, processes, ...zero, ...load, thread, ...rest }
  }

  async counted(): Promise<void> {}

  vitalsHistory(): Vitals[] {
    return []
  }

  async needs(): Promise<Need[]> {
    this.reads.needs++
    return [...this.needItems]
  }

  async exportProcess(id: string): Promise<ProcessFile> {
    throw new RuntimeError('PROCESS_NOT_FOUND', `There is no stored agent process ${id}.`)
  }

  async importProcess(): Promise<ActResult> {
    throw new RuntimeError('FILE_INVALID', 'The file is not one of ours.')
  }

  async doctor() {
    return { at: Date.now(), ok: this.findings.every(({ severity }) => severity === 'notice'), findings: this.findings }
  }

  async nodes() {
    const times = { startedAt: 1, leaseUntil: 2, epoch: 1 }
    return [{ id: 'toy', host: 'here', state: 'live' as const, self: true, processes: this.rows.size, ...times }]
  }

  async plan(verb: Parameters<Inspect['plan']>[0], id: string) {
    const { incarnation, mailbox } = this.#row(id)
    const texts = { message: 'No message is in hand.', queue: `${mailbox} messages stay.`, callers: [], budget: null }
    return { verb, target: id, incarnation, affected: [{ id, effect: 'restarts' as const, why: 'asked' }], ...texts }
  }

  recent(limit: number, process?: string): RuntimeEvent[] {
    const own = this.events.filter((event) => process === undefined || ('id' in event && event.id === process))
    return own.slice(-limit)
  }

  listen(kinds: readonly EventKind[] | 'all', listener: (event: RuntimeEvent) => void): () => void {
    const entry: Listener = { kinds, listener }
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  ready() {
    return { ready: this.storeUp, reasons: this.storeUp ? [] : ['The store does not answer.'] }
  }

  // Control

  async kill(id: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    row.incarnation++
    row.restarts++
    return this.#done('kill', row, act)
  }

  async stop(id: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    this.end(id)
    return this.#done('stop', row, act)
  }

  async restart(id: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    row.incarnation++
    return this.#done('restart', row, act)
  }

  async suspend(id: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    row.status = 'suspended'
    return this.#done('suspend', row, act)
  }

  async resume(id: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    row.status = 'idle'
    return this.#done('resume', row, act)
  }

  async send(id: string, op: string, args: unknown, act: Act): Promise<{ messageId: string }> {
    this.#message(id, op, args, act)
    const row = this.#row(id)
    row.mailbox++
    const messageId = `m${++this.#serial}`
    const box = this.mailboxes.get(id) ?? []
    const preview = JSON.stringify(args)
    const sent = { at: 1, bytes: preview.length, attempts: 0, preview, from: null, kind: 'send' as const }
    box.push({ messageId, position: box.length, op, ...sent })
    this.mailboxes.set(id, box)
    this.#done('send', row, act)
    return { messageId }
  }

  async call(id: string, op: string, args: unknown, act: Act): Promise<{ reply: Value }> {
    const value = this.#message(id, op, args, act)
    const row = this.#row(id)
    row.turns++
    const before = this.states.get(id) ?? { version: 0, value: { count: 0 } }
    const count = Number(Reflect.get(Object(before.value), 'count') ?? 0) + 1
    this.states.set(id, { version: before.version + 1, value: copy({ count }) })
    row.stateVersion++
    return { reply: op === 'forget' ? null : op === 'echo' ? value : count }
  }

  async cancel(id: string, _messageId: string, act: Act): Promise<ActResult> {
    return this.#done('cancel', this.#target(id, act), act)
  }

  async dropMessage(id: string, messageId: string, act: Act): Promise<ActResult> {
    const row = this.#target(id, act)
    const box = this.mailboxes.get(id) ?? []
    const at = box.findIndex((item) => item.messageId === messageId)
    if (at < 0) throw new RuntimeError('NOT_FOUND', `${id} has no message ${messageId}.`)
    box.splice(at, 1)
    row.mailbox--
    return this.#done('drop-message', row, act)
  }

  async editState(id: string, value: unknown, act: Act & { expectedVersion: number }): Promise<ActResult> {
    const row = this.#target(id, act)
    const version = this.states.get(id)?.version ?? 0
    if (version !== act.expectedVersion) throw new RuntimeError('VERSION_CONFLICT', `${id} is version ${version} now.`)
    this.states.set(id, { version: version + 1, value: copy(value) })
    return this.#done('edit-state', row, act)
  }

  async rewind(id: string, version: number, act: Act & { expectedVersion?: number }): Promise<ActResult> {
    const row = this.#target(id, act)
    const now = this.states.get(id)?.version ?? 0
    if (version > now) throw new RuntimeError('VERSION_NOT_KEPT', `Version ${version} of ${id} does not exist yet.`)
    return this.#done('rewind', row, act)
  }

  async skipMessage(id: string, act: Act & { message?: string }): Promise<ActResult> {
    if (act.message !== undefined) return this.dropMessage(id, act.message, act)
    return this.#done('skip-message', this.#target(id, act), act)
  }

  async retryTurn(id: string, act: Act & { step?: number; turn?: string }): Promise<ActResult> {
    return this.#done('retry-turn', this.#target(id, act), act)
  }

  async fork(id: string, act: Act & { version?: number; state?: unknown; as?: string }): Promise<ActResult> {
    return this.#done('fork', this.#target(id, act), act)
  }

  async answer(id: string, _outcome: SandboxAnswer, act: Act & { step?: string }): Promise<ActResult> {
    return this.#done('answer', this.#target(id, act), act)
  }

  async discard(id: string, act: Act): Promise<ActResult> {
    return this.#done('discard', this.#target(id, act), act)
  }

  async redeliverMessage(id: string, _messageId: string, act: Act): Promise<ActResult> {
    return this.#done('redeliver-message', this.#target(id, act), act)
  }

  async redeliverDeadLetter(id: string, act: Act): Promise<ActResult> {
    const letter = this.deadLetterRecords.find((each) => each.id === id)
    if (letter === undefined) throw new RuntimeError('NOT_FOUND', `There is no dead letter ${id}.`)
    letter.redeliveredAt = 1
    return this.#done('redeliver-dead-letter', this.#row(letter.process), act)
  }

  /** Tokens of open external steps, and what each was given. */
  readonly steps = new Map<string, { process: string; outcome: { value: unknown } | { error: unknown } | null }>()

  async completeStep(token: string, value: unknown, act: Act): Promise<ActResult> {
    return this.#settle('complete-step', token, { value }, act)
  }

  async failStep(token: string, error: unknown, act: Act): Promise<ActResult> {
    return this.#settle('fail-step', token, { error }, act)
  }

  #settle(verb: string, token: string, outcome: { value: unknown } | { error: unknown }, act: Act): ActResult {
    const step = this.steps.get(token)
    if (step === undefined) throw new RuntimeError('STEP_NOT_FOUND', 'No open step has this token.')
    if (step.outcome !== null) throw new RuntimeError('ALREADY_COMPLETED', `A step of ${step.process} has an outcome.`)
    step.outcome = outcome
    return this.#done(verb, this.#row(step.process), act)
  }

  #message(id: string, op: string, args: unknown, act: Act): Value {
    if (!this.rows.has(id) && this.pools.has(splitId(id).agent)) this.add(id)
    this.#target(id, act)
    if (!(OPS as readonly string[]).includes(op)) {
      throw new RuntimeError('OPERATION_UNKNOWN', `${id} has no operation ${op}.`)
    }
    return copy(args)
  }

  #target(id: string, act: Act): ProcessRow {
    const row = this.#row(id)
    if (act.incarnation !== undefined && act.incarnation !== row.incarnation) {
      throw new RuntimeError('INCARNATION_GONE', `${id} is incarnation ${row.incarnation}, not ${act.incarnation}.`)
    }
    return row
  }

  #row(id: string): ProcessRow {
    const row = this.rows.get(id)
    if (row === undefined) throw new RuntimeError('PROCESS_NOT_FOUND', `There is no process ${id}.`)
    return row
  }

  #done(verb: string, row: ProcessRow, act: Act): ActResult {
    const { actor, reason = null } = act
    const item = { actor, verb, target: row.id, reason, outcome: 'done' }
    this.auditItems.push({ id: `a${++this.#serial}`, at: this.#serial, detail: null, ...item })
    this.emit({ kind: 'audit', ...item })
    return { id: row.id, incarnation: row.incarnation, outcome: `${verb} done` }
  }

  #isUnder(id: string, ancestor: string): boolean {
    for (let at: string | null = id; at !== null; at = this.rows.get(at)?.parent ?? null)
      if (at === ancestor) return true
    return false
  }
}
