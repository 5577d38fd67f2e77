/**
 * Reads the tables after each statement that was carried out, and judges what can be judged at once: whose row it is,
 * what it follows, what state it makes. Of the runtime it knows the format of rows alone.
 */
import { keyOf, type MemoryDatabase } from '../../server/store/memory/database.ts'
import type { ClaimOutcome, Commit, JournalRow, NewMessage, NodeIdentity, Pid } from '../../server/store/store.ts'
import type { ActorState } from './actor.ts'
import type { Observed } from './observed.ts'
import { type Json, patched, type RawPatch } from './patched.ts'
import type { SagaState } from './saga.ts'
import type { ScribeState } from './scribe.ts'
import type { TiedState } from './tied.ts'

const NAMESPACE = 'default'
/** Agents of the simulation; the runtime's own processes are no part of most checks. */
const AGENTS: readonly string[] = ['actor', 'saga', 'tied', 'scribe']
/** States kept per process: a snapshot is behind the head by a few rows. */
const STATES_MAX = 64

type RawEntry = {
  k: string
  turn?: string | null
  key?: string
  value?: Json
  patches?: RawPatch[]
  out?: { ok?: Json }
  decision?: string
}

/** What the rows of a process say so far. */
export type Known = {
  readonly id: string
  seq: number
  claim: number
  state: Json
  /** The accepted turn that has no end. */
  open: string | null
  readonly ended: Set<string>
  /** State and open turn as of the last rows, by sequence. */
  readonly past: Map<number, { state: Json; open: string | null }>
}

export class StoreWatch {
  readonly db: MemoryDatabase
  readonly #observed: Observed
  readonly #known = new Map<Pid, Known>()
  /** Who was given a claim. */
  readonly #claims = new Map<number, string>()
  /** How often each process was given to somebody. */
  readonly #owners = new Map<string, number>()
  readonly #accepted = new Set<string>()
  readonly #stored = new Set<string>()
  readonly #settled = new Map<string, number>()
  /** Processes of which some life ended normally, and `process peer` of links that were dissolved. */
  readonly #normal = new Set<string>()
  readonly #unlinked = new Set<string>()
  #commits = 0

  constructor(db: MemoryDatabase, observed: Observed) {
    this.db = db
    this.#observed = observed
  }

  /** A statement was carried out for a node. */
  executed(method: string, args: readonly unknown[], result: unknown): void {
    if (method === 'commit')
      this.committed(args[0] as NodeIdentity, args[1] as readonly Commit[]) // Store.commit
    else if (method === 'claim')
      this.#claimed(args[0] as NodeIdentity, result as ClaimOutcome[]) // Store.claim
    else if (method === 'enqueue')
      this.#enqueued(args[1] as readonly NewMessage[]) // Store.enqueue
    else if (method === 'snapshot') this.#snapshots()
  }

  #enqueued(messages: readonly NewMessage[]): void {
    for (const { id, target } of messages) {
      for (const row of this.db.box(NAMESPACE, target)?.values() ?? []) {
        const order = row.id === id ? orderOf(row.args) : undefined
        if (order !== undefined) this.#stored.add(order)
      }
    }
  }

  /** Looks at the journals that a commit may have written. */
  committed(node: NodeIdentity, batch: readonly Commit[]): void {
    this.#commits += 1
    for (const [key, { status }] of this.db.requests) {
      if (status !== 'pending' && !this.#settled.has(key)) this.#settled.set(key, this.#commits)
    }
    for (const { process: pid, id, ends, links } of batch) {
      for (const { reason } of ends ?? []) this.#ended(id, reason)
      for (const link of links ?? []) if (link.kind === 'unlink') this.#unlinked.add(`${id} ${link.peer}`)
      const known = this.#of(pid)
      const rows = this.db.journal.get(pid) ?? []
      for (let row = rows[known.seq]; row !== undefined; row = rows[known.seq]) this.#row(known, row, node)
    }
  }

  #ended(id: string, reason: string): void {
    if ((JSON.parse(reason) as { kind: string }).kind === 'normal') this.#normal.add(id)
  }

  #of(pid: Pid): Known {
    const found = this.#known.get(pid)
    if (found !== undefined) return found
    const id = this.db.processes.get(pid)?.id ?? `process ${pid}`
    const known = { id, seq: 0, claim: 0, state: null, open: null, ended: new Set<string>(), past: new Map() }
    this.#known.set(pid, known)
    return known
  }

  #row(known: Known, row: JournalRow, node: NodeIdentity): void {
    const where = `row ${known.seq + 1} of ${known.id}`
    if (row.seq !== known.seq + 1) this.#wrong(`${where} has number ${row.seq}`)
    if (row.claim < known.claim) this.#wrong(`${where} is of claim ${row.claim} behind one of ${known.claim}`)
    const holder = this.#claims.get(row.claim)
    if (holder !== nameOf(node)) this.#wrong(`${where} was written by ${nameOf(node)} with the claim of ${holder}`)
    if (!this.db.alive(node)) this.#wrong(`${where} was written by ${nameOf(node)}, which had been declared dead`)
    known.seq += 1
    known.claim = row.claim
    const entries = isOurs(known.id) ? (JSON.parse(row.payload) as RawEntry[]) : []
    this.#observed.note('store', `row ${known.id}:${row.seq} ${entries.map(textOf).join(', ')}`)
    for (const entry of entries) this.#entry(known, entry)
    known.past.set(row.seq, { state: known.state, open: known.open })
    known.past.delete(row.seq - STATES_MAX)
  }

  #entry(known: Known, entry: RawEntry): void {
    const turn = entry.turn ?? null
    switch (entry.k) {
      case 'init':
        known.state = entry.value ?? null
        return
      case 'accepted':
        if (known.open !== null && known.open !== turn) this.#wrong(`${known.id} began ${turn} inside of ${known.open}`)
        known.open = turn
        if (turn !== null) this.#accepted.add(turn)
        return
      case 'step': {
        const value = entry.out?.ok
        if (typeof value === 'string') this.#observed.record(value)
        return
      }
      case 'checkpoint':
        known.state = patched(known.state, entry.patches ?? [])
        return
      case 'end':
        this.#end(known, entry, turn ?? '')
        return
      case 'failed':
        if (entry.decision === 'dead' && known.open === turn) known.open = null
        return
    }
  }

  #end(known: Known, entry: RawEntry, turn: string): void {
    this.#observed.counts.turns += 1
    if (known.ended.has(turn)) this.#wrong(`${turn} of ${known.id} ended twice`)
    known.ended.add(turn)
    known.state = patched(known.state, entry.patches ?? [])
    if (known.open === turn) known.open = null
    else if (known.open !== null) this.#wrong(`${turn} of ${known.id} ended inside of ${known.open}`)
  }

  #claimed(node: NodeIdentity, outcomes: readonly ClaimOutcome[]): void {
    for (const outcome of outcomes) {
      if (outcome.kind !== 'claimed') continue
      this.#observed.counts.claims += 1
      const { claim, record } = outcome
      if (this.#claims.has(claim)) this.#wrong(`claim ${claim} of ${record.id} was given twice`)
      this.#claims.set(claim, nameOf(node))
      this.#owners.set(record.id, (this.#owners.get(record.id) ?? 0) + 1)
    }
  }

  #snapshots(): void {
    for (const [pid, { seq, value }] of this.db.snapshots) {
      const known = this.#of(pid)
      const then = known.past.get(seq)
      if (!isOurs(known.id) || then === undefined) continue
      known.past.delete(seq)
      this.#observed.counts.snapshots += 1
      if (then.open !== null) this.#wrong(`the snapshot ${seq} of ${known.id} hides its open turn ${then.open}`)
      if (JSON.stringify(then.state) !== value) this.#wrong(`the snapshot ${seq} of ${known.id} is not its state`)
    }
  }

  #wrong(text: string): void {
    this.#observed.violation(`store: ${text}`)
  }

  // What others ask

  actors(): Iterable<Known & { state: ActorState }> {
    return this.processes('actor') as Iterable<Known & { state: ActorState }> // made by `state` of the agent
  }

  sagas(): Iterable<Known & { state: SagaState }> {
    return this.processes('saga') as Iterable<Known & { state: SagaState }> // made by `state` of the agent
  }

  tied(): Iterable<Known & { state: TiedState }> {
    return this.processes('tied') as Iterable<Known & { state: TiedState }> // made by `state` of the agent
  }

  scribes(): Iterable<Known & { state: ScribeState }> {
    return this.processes('scribe') as Iterable<Known & { state: ScribeState }> // made by `state` of the agent
  }

  /** Those of an agent, or all, that have a state. */
  *processes(agent: string | null = null): Iterable<Known> {
    for (const known of this.#known.values()) {
      const is = agent === null ? isOurs(known.id) : known.id.startsWith(`${agent}/`)
      // Null before its first row.
      if (is && known.state !== null) yield known
    }
  }

  /** How often the stored states say that an order was carried out. */
  done(order: string): number {
    let sum = 0
    for (const { state } of this.actors()) sum += state.done[order] ?? 0
    return sum
  }

  isAccepted(turn: string): boolean {
    return this.#accepted.has(turn)
  }

  /** The message of the order was in its mailbox once. */
  isStored(order: string): boolean {
    return this.#stored.has(order)
  }

  /** The node that has the process, as the store has it. */
  ownerOf(id: string): string | null {
    const process = this.db.find(NAMESPACE, id)
    if (process === undefined || process.owner === null) return null
    return `${process.owner}.${process.ownerEpoch}`
  }

  deadLetters(order: string): number {
    return [...this.db.deadLetters.values()].filter(({ args }) => orderOf(args) === order).length
  }

  request(scope: string, key: string) {
    return this.db.requests.get(keyOf(NAMESPACE, scope, key))
  }

  /** `pending`, `ok`, or the code of the error; `none` where nothing was started. */
  outcome(scope: string, key: string): string {
    const row = this.request(scope, key)
    if (row === undefined) return 'none'
    if (row.status !== 'failed') return row.status === 'done' ? 'ok' : 'pending'
    return String((JSON.parse(row.result ?? '{}') as { err?: { code: string } }).err?.code) // an Outcome
  }

  /** The number of the commit that settled a request; the first is 1. */
  settledAt(scope: string, key: string): number | undefined {
    return this.#settled.get(keyOf(NAMESPACE, scope, key))
  }

  /** No other activation than the first knew of it. */
  hadOneOwner(id: string): boolean {
    return (this.#owners.get(id) ?? 0) < 2
  }

  endedNormally(id: string): boolean {
    return this.#normal.has(id)
  }

  hasUnlinked(id: string, peer: string): boolean {
    return this.#unlinked.has(`${id} ${peer}`)
  }

  /** What is left to do. Empty when all is done. */
  left(): string[] {
    const rows = [...this.db.mailbox].flatMap(([box, list]) => {
      const target = box.slice(NAMESPACE.length + 1)
      return isOurs(target) ? [...list.values()].map(({ kind, op }) => `${kind} ${op} for ${target}`) : []
    })
    const timers = [...this.db.timers].flatMap(([pid, list]) =>
      [...list.keys()].map((name) => `timer ${name} of ${pid}`),
    )
    const requests = [...this.db.requests.values()].flatMap(({ status, scope, key }) =>
      status === 'pending' ? [`request ${key} of ${scope}`] : [],
    )
    const turns = [...this.processes()].flatMap(({ id, open }) => (open === null ? [] : [`turn ${open} of ${id}`]))
    const parked = [...this.db.processes.values()].flatMap(({ id, diverged }) => (diverged ? [`${id} diverged`] : []))
    return [...rows, ...timers, ...requests, ...turns, ...parked]
  }
}

function isOurs(id: string): boolean {
  return AGENTS.includes(id.slice(0, id.indexOf('/')))
}

function orderOf(args: string): string | undefined {
  const message = JSON.parse(args) as { order?: { id: string }; id?: string } | null // messages of the simulation
  return message?.order?.id ?? message?.id
}

function textOf({ k, turn, key, decision }: RawEntry): string {
  return [k, turn, key, decision].filter((part) => part !== undefined && part !== null).join(' ')
}

function nameOf({ id, epoch }: NodeIdentity): string {
  return `${id}.${epoch}`
}
