/**
 * The stored side of one supervisor or pool: a claimed row with a journal of its own, beside the process and never in
 * its slot. Losing the row ends no process: the ledger becomes a follower, which writes nothing (S56).
 *
 * - S55: whatever changes while a row is on its way leaves together in the next one: many changes of one macrotask, or
 *   of an outage, are one row. The state in it is always the newest; of the changes the newest NOTES_MAX are told, and
 *   how many are not.
 * - One owner writes. A follower asks for the row when recovery finds its owner dead, and now and then when it has
 *   something to say.
 * - A row that the store refuses is made anew from the facts and tried again with a growing pause; the tree goes on.
 */
import { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { BlackBox } from '../../shared/snapshot.ts'
import type { ChildInput } from '../kernel/child.ts'
import type { Clock } from '../kernel/clock-port.ts'
import type { Process, ProcessSpec } from '../kernel/process.ts'
import type { AddedChild, TreeChange, TreeHistory } from '../kernel/tree-change.ts'
import type { NodeIdentity } from '../store/store.ts'
import type { Activated, Activator } from './activation.ts'
import type { Committer } from './committer.ts'
import { newFailure } from './failure.ts'
import { fold } from './fold.ts'
import { storable } from './message.ts'
import { applyPatches } from './patch.ts'
import { type Dropped, DurableRecord, type Keeper } from './record.ts'
import { type TreeNote, type TreeState, treeChildren, treePatches, treeState, treeValue } from './tree-state.ts'

/** Changes told in one row; a start of thousands of children, or an outage, is told by its end and a count. */
export const NOTES_MAX = 200
/** Restarts kept, whatever a supervisor allows: beyond it a limit is no limit any more. */
const RESTARTS_MAX = 1_000
/** Ms between two attempts of a follower that has something to say. */
const ASK_AGAIN_MS = 10_000
/** Ms before a refused row is tried again: first and largest pause. */
const REFUSED_MS_FIRST = 1_000
const REFUSED_MS_MAX = 60_000
/** Version of TreeState. */
const TREE_VERSION = 1

export type LedgerPorts = {
  clock: Clock
  activator: Activator
  committer: Committer
  node(): NodeIdentity
  clockOffset(): number
  /** A node that leaves gives its rows up: what ends then is a move, not a change of the tree. */
  draining(): boolean
  newId(): string
  /** How to run an agent's process; null for an agent this code does not know. */
  childSpec(agent: string, key: string): ProcessSpec | null
  lastEvents(id: ProcessId): BlackBox['events']
  failed(what: string, error: unknown): void
}

type Opened = Extract<Activated, { kind: 'loaded' }>

export class Ledger implements Keeper {
  readonly id: ProcessId
  readonly #ports: LedgerPorts
  readonly #place: { agent: string; key: string; parent: ProcessId | null }
  #process: Process | null = null
  #record: DurableRecord | null = null
  /** The row is claimed, and its process is not born yet. */
  #opened: Opened | null = null
  #asking: Promise<void> | null = null
  #askedAt = Number.NEGATIVE_INFINITY
  /** Another node owned the row while the tree ran here. */
  #followed = false
  /** The first incarnation on this node was given its history. */
  #begun = false
  #restored: TreeState | null = null
  #incarnation = 1
  #notes: TreeNote[] = []
  #untold = 0
  #stale = false
  #scheduled = false
  #refusedMs = REFUSED_MS_FIRST
  #actor: string | null = null
  #restarts: number[] = []
  /** Of these, the ones that the row has from here: two nodes may restart something within one millisecond. */
  #known: readonly number[] = []
  #gaveUp: TreeState['gaveUp'] = null
  #gaveUpNow = false
  /** What the row on its way says besides the state; the next one says it where that is refused. */
  #saying: { readonly actor: string | null; readonly gaveUp: boolean } | null = null

  constructor(ports: LedgerPorts, place: { id: ProcessId; parent: ProcessId | null }) {
    const { id, parent } = place
    const at = id.indexOf('/')
    this.id = id
    this.#ports = ports
    this.#place = { agent: id.slice(0, at), key: id.slice(at + 1), parent }
  }

  /** F7: what an operator wants, as the row that was claimed before the start says. */
  get stopped(): boolean {
    return this.#opened?.outcome.record.desired === 'stopped'
  }

  /** The record of the owner; null for a follower. */
  get record(): DurableRecord | null {
    return this.#record
  }

  // The row

  /** Claims the row, if nobody alive has it. One attempt at a time; resolves when it is decided. */
  ask(): Promise<void> {
    if (this.#record !== null || this.#opened !== null) return Promise.resolve()
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null
    })
    return this.#asking
  }

  async #ask(): Promise<void> {
    this.#askedAt = this.#ports.clock.monotonic()
    const request = { id: this.id, ...this.#place, kind: 'supervisor' as const, stateVersion: TREE_VERSION }
    // `mine`: this ledger is the single flight; what the node holds and the ledger does not is held by a lost answer.
    const activated = await this.#ports.activator.activate({ ...request, create: true, recreate: true, mine: true })
    this.#followed ||= activated.kind === 'owned'
    if (activated.kind !== 'loaded') this.#follow()
    else if (this.#process === null) this.#opened = activated
    else this.#own(activated, this.#process)
  }

  #own({ outcome, loaded }: Opened, process: Process): void {
    const folded = fold(loaded)
    const state = treeValue(treeState(folded.state))
    const record = new DurableRecord({
      id: this.id,
      pid: outcome.record.pid,
      claim: outcome.claim,
      process,
      seq: outcome.seq,
      state,
      stateVersion: TREE_VERSION,
      at: folded.at,
    })
    record.keeper = this
    record.patchBytes = folded.patchBytes
    record.snapshotBytes = folded.snapshotBytes
    if (folded.state === undefined) record.fresh = state
    this.#record = record
    this.#incarnation = outcome.record.incarnation
    this.#note({ kind: 'owned', at: this.#storeNow(), node: this.#ports.node().name })
    if (this.#begun) this.#inherit(treeState(state))
    else this.#restored = treeState(state)
    this.#changed()
  }

  #follow(): void {
    this.#record = null
    this.#opened = null
    this.#saying = null
    this.#forget()
  }

  /** What nobody writes here is told by nobody, nor whose word it was. */
  #forget(): void {
    this.#notes = []
    this.#untold = 0
    this.#actor = null
  }

  /** The node's epoch is over: the row is anybody's. */
  fence(): void {
    const record = this.#record
    if (record !== null) {
      record.fenced = true
      if (!record.flying) record.drop()
    }
    this.#askedAt = Number.NEGATIVE_INFINITY
    this.#follow()
  }

  // History

  /** For the first incarnation of this node; a later one begins anew (S52). */
  history(process: Process): TreeHistory | null {
    this.#process = process
    const opened = this.#opened
    this.#opened = null
    if (opened !== null) this.#own(opened, process)
    const restored = this.#restored
    this.#restored = null
    this.#begun = true
    this.#gaveUp = null
    this.#restarts = []
    if (restored === null) return null
    // One that gave up is tried again as after a restart by its own supervisor: with an empty window.
    if (restored.gaveUp === null) this.#restarts = [...restored.restarts]
    this.#known = this.#restarts
    return this.#historyOf(restored, this.#restarts)
  }

  /** S56: the row of an owner that died. */
  #inherit(stored: TreeState): void {
    const overseer = this.#process?.supervisor ?? null
    if (overseer === null || this.#process?.alive !== true) return
    const spent = stored.gaveUp !== null && !this.#followed
    const news = spent ? [] : stored.restarts.filter((at) => !this.#known.includes(at))
    this.#restarts = [...this.#restarts, ...news].sort((a, b) => a - b)
    overseer.inherit(this.#historyOf(stored, news))
    // S57: a row that was found late, by a start and not by a takeover, is as good as found in time.
    if (stored.gaveUp !== null && this.#gaveUp === null && this.#followed) overseer.giveUp(stored.gaveUp.child)
  }

  #historyOf(state: TreeState, restarts: readonly number[]): TreeHistory {
    const now = this.#ports.clock.monotonic()
    const storeNow = this.#storeNow()
    const facts = [...state.children]
    return {
      incarnation: this.#incarnation,
      restarts: restarts.map((at) => Math.min(now, now - (storeNow - at))),
      added: facts.flatMap(([id, { added }]) => (added === null ? [] : this.#childOf(id, added))),
      terminated: new Map(facts.flatMap(([id, fact]) => (fact.terminated ? [[id, fact.incarnation]] : []))),
    }
  }

  #childOf(id: string, added: AddedChild): ChildInput[] {
    const { agent, key, restart, shutdown, significant } = added
    const process = this.#ports.childSpec(agent, key)
    if (process !== null) return [{ id, process, restart, shutdown, significant }]
    const text = `Child ${id} of ${this.id} was started at run time; agent "${agent}" is not part of this runtime.`
    this.#ports.failed(`starting ${id} again`, new RuntimeError('PROCESS_NOT_FOUND', text))
    return []
  }

  // Changes

  changed(process: Process, change: TreeChange): void {
    this.#process = process
    if (this.#ports.draining()) return
    const at = this.#storeNow()
    if (change.counted) this.#restarts = [...this.#restarts, at].slice(-RESTARTS_MAX)
    if (change.kind === 'gave-up') {
      this.#gaveUp = { at, child: change.child ?? '' }
      this.#gaveUpNow = true
    }
    this.#note({ ...change, at })
    this.#changed()
  }

  /** A verb of an operator, before it is carried out. */
  act(verb: string, by: string, why: string | null): void {
    this.#actor = by
    this.#note({ kind: 'act', at: this.#storeNow(), verb, by, why })
    this.#changed()
  }

  #note(note: TreeNote): void {
    this.#notes.push(note)
    if (this.#notes.length <= NOTES_MAX) return
    this.#notes.shift()
    this.#untold += 1
  }

  #changed(): void {
    this.#stale = true
    if (this.#scheduled) return
    this.#scheduled = true
    this.#ports.clock.macrotask(() => {
      this.#scheduled = false
      this.#write()
    })
  }

  #write(): void {
    const record = this.#record
    const process = this.#process
    if (record === null) return this.#speakUp()
    if (!this.#stale || record.pending || process?.supervisor == null) return
    this.#stale = false
    const { periodMs, children } = process.supervisor.facts()
    const from = this.#storeNow() - periodMs
    this.#restarts = this.#restarts.filter((at) => at >= from)
    this.#known = this.#restarts
    const next = { children: treeChildren(children), restarts: this.#restarts, gaveUp: this.#gaveUp }
    const patches = treePatches(treeState(record.live), next)
    const notes = this.#notes.splice(0).map(storableNote)
    if (notes.length === 0 && patches.length === 0) return
    const { incarnation } = process
    record.append({
      entries: [{ k: 'tree', notes, untold: this.#untold, patches }],
      turn: null,
      lineage: this.#actor === null ? null : { cause: null, root: null, traceparent: null, actor: this.#actor },
      state: applyPatches(record.live, patches),
      ...(incarnation > this.#incarnation ? { patch: { incarnation } } : {}),
      ...(this.#gaveUpNow ? { failures: [this.#failure(process)] } : {}),
      settle: (outcome) => {
        if (outcome.kind !== 'stored' || record !== this.#record) return
        this.#saying = null
        this.#incarnation = Math.max(incarnation, this.#incarnation)
        this.#refusedMs = REFUSED_MS_FIRST
        if (this.#stale) this.#changed()
      },
    })
    this.#saying = { actor: this.#actor, gaveUp: this.#gaveUpNow }
    this.#untold = 0
    this.#actor = null
    this.#gaveUpNow = false
    this.#ports.committer.wake(record)
  }

  /** A follower that has something to say asks whether it may. */
  #speakUp(): void {
    if (this.#asking !== null) return
    this.#forget()
    if (this.#ports.clock.monotonic() - this.#askedAt < ASK_AGAIN_MS || this.#ports.draining()) return
    this.ask().catch((error: unknown) => this.#ports.failed(`claiming the row of ${this.id}`, error))
  }

  #failure(process: Process): ReturnType<typeof newFailure> {
    const { lastEvents, newId } = this.#ports
    const child = this.#gaveUp?.child ?? ''
    const attempt = this.#restarts.length + 1
    const text = `${this.id} gave up: ${attempt} restarts within its period, the last one of ${child}.`
    const error = new RuntimeError('SUPERVISOR_GAVE_UP', text)
    const failure = newFailure({
      ...{ id: newId(), process, error, class: 'GaveUp', envelope: null, attempt, decision: 'gave-up' },
    })
    return { ...failure, box: { ...failure.box, events: lastEvents(this.id) } }
  }

  // Keeper: what the committer tells

  fenced(record: DurableRecord): void {
    if (record === this.#record) this.#follow()
  }

  refused(record: DurableRecord, { error, dropped }: { dropped: Dropped; error: RuntimeError }): void {
    this.#ports.failed(`storing a change of ${this.id}`, error)
    if (record !== this.#record) return
    for (const { entries } of [...dropped.flying, ...dropped.waiting]) {
      for (const entry of entries) if (entry.k === 'tree') this.#untold += entry.notes.length + entry.untold
    }
    this.#actor ??= this.#saying?.actor ?? null
    this.#gaveUpNow ||= this.#saying?.gaveUp === true
    this.#saying = null
    this.#ports.clock.after(this.#refusedMs, () => this.#changed()).keepAlive(false)
    this.#refusedMs = Math.min(this.#refusedMs * 2, REFUSED_MS_MAX)
  }

  #storeNow(): number {
    return Math.floor(this.#ports.clock.now() + this.#ports.clockOffset())
  }
}

function storableNote(note: TreeNote): TreeNote {
  if (note.kind === 'act') return { ...note, why: note.why === null ? null : storable(note.why) }
  if (note.kind === 'owned' || note.reason === null) return note
  return { ...note, reason: storable(note.reason) }
}
