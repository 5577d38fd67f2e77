/**
 * One turn of a durable process: a message becomes a patch, an outbox and a reply, in one commit.
 *
 * - T1: the base is frozen; `ctx.state` is a draft; state, sends, spawns and timers leave with the end of the turn.
 * - T3: before the first step, call or checkpoint the message itself is stored (`accepted`) and awaited, so that the
 *   turn survives its caller and its node. A turn without any of these costs one commit in all.
 * - T4: the turn's id is the message's id. Everything derived from it is the same on every replay.
 * - T5: results are handed over in the order of the journal; live work begins only when nothing recorded is left.
 * - A result is handed to user code before its row is stored; the next external effect waits until it is (T7).
 *
 * Awaits that matter: `flushed()`. Between two of them everything here is synchronous.
 */
import type { Divergence } from '../../shared/divergence.ts'
import { errorFromData, RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Wait } from '../../shared/snapshot.ts'
import { copy, type Value } from '../../shared/value.ts'
import type { Call } from '../definition/call.ts'
import type { Envelope, Lineage } from '../kernel/envelope.ts'
import type { ExitReason } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import type { NewMessage } from '../store/store.ts'
import { abandoned } from './abandoned.ts'
import { branchAt, NO_PAST, turnName } from './branch.ts'
import { assertUntouched, handOver } from './bytes.ts'
import { type Cancel, deliverCancel, recordedCancel } from './cancellation.ts'
import { divergenceOf, type Found, parkDiverged } from './divergence.ts'
import type { EndKind, Entry, Outcome, Shape } from './entry.ts'
import { acceptedOf, dataOfError, fenced, type Draft as MessageParts, newMessage } from './message.ts'
import { emptyOutbox, OUTBOX_MAX, type Outbox } from './outbox.ts'
import { type Draft, draftOf, isDraftable, type Patch, replaceAll } from './patch.ts'
import { PatchMarks } from './patch-mark.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import type { DurableRecord, OpenTurn, Part, Settled } from './record.ts'
import { type Recorded, Replay, recordedOf, refusedOf } from './replay.ts'
import { beforeRollback, type Rollback, recordedRollback } from './rollback.ts'
import { liveInScope, scopeHere } from './scope.ts'
import { SeededRandom } from './seeded.ts'
import { bookOf, type StepBook } from './step-book.ts'
import type { Children } from './turn-child.ts'
import { Requests } from './turn-request.ts'
import type { LiveStep } from './turn-step.ts'
import { endStreams, type TurnStreams } from './turn-stream.ts'
import type { Due } from './wait.ts'

/** The hook that runs as a turn after load. `$` cannot begin an operation of a user's agent by accident. */
export const ACTIVATED_OP = '$activated'

type MessageDraft = Pick<MessageParts, 'target' | 'kind' | 'op' | 'args' | 'replyTo' | 'deadline'> & {
  chain?: readonly ProcessId[]
}

export class Turn {
  readonly ports: DurablePorts
  readonly agent: AgentEntry
  readonly record: DurableRecord
  readonly process: Process
  readonly envelope: Envelope
  readonly id: string
  readonly incarnation: number
  readonly epoch: number
  readonly calls: Call<unknown>[] = []
  outbox: Outbox = emptyOutbox()
  answer: Outcome | null = null // of ctx.reply
  /** Set by ctx.exit: the process ends with the turn. */
  exit: ExitReason | null = null
  how: EndKind | null = null // set with its end
  /** Whether exits were trapped before this turn changed it; null: it did not. */
  trapBefore: boolean | null = null
  ended: (() => void) | null = null // told once the end of the turn is stored
  /** Received calls that have their reply, in this attempt. */
  answered: Set<string> | null = null
  /** Told when the turn only waits: whatever else it may have broken, it did by now. */
  quiet: (() => void) | null = null
  closed = false
  open: OpenTurn | null
  readonly isAgain: boolean // it ran before, here or on an earlier node
  streams: TurnStreams | null = null
  sent = 0
  spawned = 0
  running: Set<LiveStep> | null = null // oldest first
  guard: (() => void) | null = null // set while a transaction is open: refuses the verbs inside of it
  /** What an interrupted attempt of the turn left of steps without a result. */
  steps: StepBook | null = null
  marks: PatchMarks | null = null
  cancel: Cancel | null = null // somebody asked for its end
  shields = 0 // sections that a cancellation must wait for
  scoped = false // it began a section of its own (scope.ts)
  rollback: Rollback | null = null
  children: Children | null = null // that it stops or waits for at its end
  readonly #base0: Value
  #base: Value
  #draft: Draft | null = null
  /** What the draft is made of: the base, or a copy of it where it holds bytes, which cannot be locked. */
  #shown: Value = null
  #replaced = false
  #primitive: unknown
  #now: number
  #replay: Replay | null = null
  #random: SeededRandom | null = null
  // Most turns need none of these: they are made when the first step, call or signal asks for them.
  #abort: AbortController | null = null
  #requests: Requests | null = null
  #calledKeys: Map<string, Extract<Entry, { k: 'called' }>> | null = null
  #checkpoints: Map<string, Extract<Entry, { k: 'checkpoint' }>> | null = null
  /** Sends that were refused; those before the turn was accepted are recorded with it (M6). */
  #refused: Extract<Entry, { k: 'refused' }>[] | null = null
  #sends = 0
  #dues: Map<string, Due> | null = null
  #stored: Promise<void> | null = null

  constructor(ports: DurablePorts, agent: AgentEntry, process: Process, record: DurableRecord, envelope: Envelope) {
    this.ports = ports
    this.agent = agent
    this.process = process
    this.record = record
    this.envelope = envelope
    this.id = envelope.messageId ?? ports.newId()
    this.incarnation = process.incarnation
    this.epoch = process.epoch
    this.open = record.open?.turn === this.id ? record.open : null
    this.isAgain = this.open !== null
    this.#base0 = this.open?.base ?? record.live
    this.#base = this.#base0
    this.#now = this.open?.startedAt ?? Math.max(record.lastNow, Math.floor(ports.clock.now() + ports.clockOffset()))
    record.lastNow = Math.max(record.lastNow, this.#now)
    if (this.open !== null) this.#beginReplay(this.open)
  }

  /** The turn of `activated`. */
  get isHook(): boolean {
    return this.envelope.op === ACTIVATED_OP
  }

  get now(): number {
    return this.#now
  }

  /** Aborted when the incarnation ends with the turn in hand. */
  get abort(): AbortController {
    this.#abort ??= new AbortController()
    return this.#abort
  }

  get random(): SeededRandom {
    const seed = `${this.id}/${this.branchHere}`
    if (this.#random?.seed !== seed) this.#random = new SeededRandom(seed)
    return this.#random
  }

  /** Of the results that the code passes (branch.ts). */
  get branchHere(): number {
    return this.open === null ? this.record.branch : branchAt(this.open, this.#replay?.position ?? 0)
  }

  /** Name of the turn in ids of what leaves. */
  get name(): string {
    return turnName(this.id, this.open?.branch ?? this.record.branch)
  }

  get replaying(): boolean {
    return this.#replay !== null && !this.#replay.done
  }

  /** Something recorded lies ahead of the code. */
  get isBehind(): boolean {
    return this.unreplayed !== null || this.marks?.isBehind(this.#sends) === true
  }

  get lineage(): Lineage {
    const from = this.envelope.lineage
    return {
      cause: this.id,
      root: from.root ?? this.id,
      traceparent: this.ports.tracing.traceparent() ?? from.traceparent,
      actor: from.actor,
      chain: [],
    }
  }

  // State

  get state(): unknown {
    if (this.#replaced) return this.#primitive
    if (this.#draft !== null) return this.#draft.value
    if (!isDraftable(this.#base)) return handOver(this.#base)
    this.#shown = handOver(this.#base)
    this.#draft = draftOf(this.#shown)
    return this.#draft.value
  }

  /** The state as it stands, locked. */
  get view(): unknown {
    if (this.#replaced) return copy(this.#primitive)
    return this.#draft === null ? handOver(this.#base) : copy(this.#draft.value)
  }

  set state(value: unknown) {
    this.#replaced = true
    this.#primitive = value
  }

  /** Ends the draft. @throws VALUE_UNSUPPORTED with the path of what cannot be stored */
  takePatches(): Patch[] {
    if (this.#replaced) return replaceAll(this.#primitive)
    if (this.#draft === null) return []
    const patches = this.#draft.finish()
    assertUntouched(this.#base, this.#shown)
    return patches
  }

  get base(): Value {
    return this.#base
  }

  /** Goes on from a stored state: a checkpoint. */
  rebase(base: Value): void {
    this.#base = base
    this.#draft = null
    this.#replaced = false
    this.#primitive = undefined
  }

  // Guards

  assertOpen(): void {
    if (!this.closed && this.process.epoch === this.epoch) return this.guard?.()
    throw new RuntimeError(
      'CONTEXT_CLOSED',
      `The turn "${this.envelope.op}" of ${this.process.id} is over; its ctx cannot be used any more. ` +
        'Await everything the handler starts.',
    )
  }

  /** No verb works any more; steps that still run are aborted with the reason, the end of the turn by default. */
  close(reason?: unknown): void {
    const { running } = this
    this.leave()
    if (running === null) return
    const why = reason ?? abandoned(this.envelope.op, this.process.id)
    for (const step of running) step.end(why)
  }

  /** The same, and nobody hears of it: what it waits for is stored, and a replay goes on from there. */
  leave(): void {
    this.closed = true
    this.#replay?.close()
    this.running = null
  }

  // Journal

  /** Makes the turn the runtime's promise: from now on it is replayed until it ends (T3). */
  accept(): OpenTurn {
    if (this.open !== null) return this.open
    const { envelope } = this
    const open: OpenTurn = {
      turn: this.id,
      branch: this.record.branch,
      past: NO_PAST,
      codeVersion: this.ports.codeVersion,
      op: envelope.op,
      base: this.#base0,
      entries: [],
      stored: 0,
      recoveries: 0,
      alone: 0,
      marked: false,
      taken: null,
      startedAt: this.#now,
      envelope,
    }
    envelope.messageId = this.id
    this.open = open
    this.record.open = open
    this.append({ k: 'accepted', turn: this.id, branch: open.branch, message: acceptedOf(envelope), at: this.#now })
    for (const entry of this.#refused ?? []) this.append(entry)
    for (const entry of this.marks?.early ?? []) this.append(entry)
    return open
  }

  /** Adds an entry that is not the end: it leaves with the next row. `onStored` is told before whoever is flushed. */
  append(entry: Entry, extra: Partial<Part> = {}, onStored?: (at: number) => void): void {
    const open = this.open
    if (entry.k !== 'accepted') open?.entries.push(entry)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => {}) // awaited through flushed() where it matters; the refusal itself is handled by the record
    this.#stored = promise
    const settle = (outcome: Settled): void => {
      if (outcome.kind === 'stored') {
        if (open !== null) open.stored += 1
        onStored?.(outcome.at)
        resolve()
      } else reject(outcome.kind === 'refused' ? outcome.error : fenced(this.process.id))
    }
    this.record.append({ ...extra, entries: [entry], turn: this.id, lineage: this.envelope.lineage, settle })
    this.ports.committer.wake(this.record)
  }

  /** Resolves once everything before is stored: an external effect may follow (T7). */
  async flushed(): Promise<void> {
    if (this.#stored === null) return
    const wait: Wait = { kind: 'commit', target: null, since: this.ports.clock.now(), deadline: null, attempt: 1 }
    this.process.wait = wait
    await this.#stored
    if (this.process.wait === wait) this.process.wait = null
    this.assertOpen()
  }

  // Requests: steps, calls, checkpoints

  get requests(): Requests {
    this.#requests ??= new Requests(this.ports.clock)
    return this.#requests
  }

  /** A stable key: the explicit one, or a counter per name. @throws STEP_KEY_REQUIRED */
  key(name: string, explicit?: string): string {
    return this.requests.key(name, explicit)
  }

  nextKey(name: string): string {
    return this.requests.nextKey(name)
  }

  get pending(): number {
    return this.#requests?.size ?? 0
  }

  dueOf(key: string): Due | undefined {
    return this.#dues?.get(key)
  }

  /** Asks for a recorded result, or makes it live. */
  request(key: string, live: () => Promise<unknown>, shape: Shape = 'result', firm = false): Promise<unknown> {
    this.accept()
    const scope = this.scoped ? scopeHere(this) : null
    const run = (): Promise<unknown> => {
      this.marks?.asked(key)
      const now = (): Promise<unknown> => this.#live(key, live, firm)
      const begin = scope === null ? now : () => liveInScope(this, scope, { key, shape, live: now })
      return this.#replay === null || this.#replay.over ? begin() : this.#replay.request(key, shape, begin)
    }
    return this.requests.ask({ key, shape, firm, scope, run, over: () => firm && deliverCancel(this) })
  }

  /** Y2: where a cancellation waits for the next request, this is it. */
  #live(key: string, live: () => Promise<unknown>, firm: boolean): Promise<unknown> {
    if (this.rollback?.mayBegin() === false) return new Promise(() => {})
    if (this.cancel === null || firm) return live()
    deliverCancel(this)
    return this.requests.has(key) ? live() : new Promise(() => {})
  }

  cancelWith(entry: Cancel['entry']): void {
    this.cancel ??= { entry, delivered: false }
    deliverCancel(this)
  }

  /** Place of a live result in the order of results; null to go on at once. */
  place(): Promise<void> | null {
    return this.requests.place()
  }

  /** For a result whose entry is made now and which is handed over later: keeps the others back until then. */
  hold(): () => void {
    return this.requests.hold()
  }

  called(key: string): Extract<Entry, { k: 'called' }> | undefined {
    return this.#calledKeys?.get(key)
  }

  checkpointed(key: string): Extract<Entry, { k: 'checkpoint' }> | undefined {
    return this.#checkpoints?.get(key)
  }

  isLastCheckpoint(key: string): boolean {
    return [...(this.#checkpoints?.keys() ?? [])].at(-1) === key
  }

  /** Time moves on with each result that is handed over. */
  advance(at: number): void {
    this.#now = Math.max(this.#now, at)
    this.record.lastNow = Math.max(this.record.lastNow, this.#now)
  }

  /** Epoch ms of the store. The turn's own time moves with results only, or a replay would see another one (V5). */
  wallclock(): number {
    return Math.max(this.#now, Math.floor(this.ports.clock.now() + this.ports.clockOffset()))
  }

  /** Epoch ms for a result made now. */
  stamp(): number {
    const at = this.wallclock()
    this.advance(at)
    return at
  }

  endReplay(): void {
    this.#replay?.close()
  }

  /** What the journal holds and the code never asked for; null when the replay is complete. */
  get unreplayed(): string | null {
    return this.#replay === null || this.#replay.done ? null : this.#replay.owed
  }

  #beginReplay(open: OpenTurn): void {
    const recorded = recordedOf(beforeRollback(open.entries))
    this.rollback = recordedRollback(this, open.entries)
    this.steps = bookOf(open.entries)
    for (const entry of open.entries) {
      if (entry.k === 'called') this.#calledKeys = added(this.#calledKeys, entry)
      else if (entry.k === 'checkpoint') this.#checkpoints = added(this.#checkpoints, entry)
      else if (entry.k === 'due') {
        this.#dues ??= new Map()
        this.#dues.set(entry.key, { due: entry.due, since: entry.at })
      }
    }
    this.#refused = refusedOf(open.entries)
    this.marks = new PatchMarks(open.entries)
    this.cancel = recordedCancel(open.entries)
    if (recorded.length === 0) return
    this.#replay = new Replay(recorded, {
      clock: this.ports.clock,
      delivering: (item) => this.#delivering(item),
      diverged: (asked) => this.diverge({ asked, ended: null }),
    })
  }

  #delivering(item: Recorded): void {
    this.ports.crash.hit('replay:middle')
    this.advance(item.at)
    if (item.ends !== undefined) endStreams(this, item.ends)
  }

  /** The code left what the journal holds. */
  diverge(found: Found): void {
    const { items, position } = this.#replay ?? { items: [], position: 0 }
    this.diverged(divergenceOf(this.#label, items, { position, found }))
  }

  get #label(): { id: string; op: string; recordedBy: string; runs: string } {
    const { codeVersion: runs } = this.ports
    return { id: this.id, op: this.envelope.op, recordedBy: this.open?.codeVersion ?? runs, runs }
  }

  protected diverged(divergence: Divergence): void {
    parkDiverged(this, divergence)
  }

  // Outbox

  /** M6: refuses a send as `check` says now, and on replay as it did then. @throws what `check` throws */
  checkSend(check: () => void): void {
    const n = ++this.#sends
    const recorded = this.#refused?.find((entry) => entry.n === n)
    if (recorded !== undefined) throw errorFromData(recorded.error)
    if (this.replaying) return
    try {
      check()
    } catch (error) {
      const entry = { k: 'refused' as const, turn: this.id, n, error: dataOfError(error) }
      this.#refused = [...(this.#refused ?? []), entry]
      if (this.open !== null) this.append(entry)
      throw error
    }
  }

  /** Adds a message; its id follows from turn and position (T4). */
  post(draft: MessageDraft): NewMessage {
    if (this.outbox.messages.length >= OUTBOX_MAX) {
      throw new RuntimeError(
        'MAILBOX_FULL',
        `A turn of ${this.process.id} sent ${OUTBOX_MAX} messages; that is the limit.`,
      )
    }
    this.sent += 1
    const { chain = [], ...message } = draft
    return newMessage({
      ...message,
      id: `${this.name}.${this.sent}`,
      sender: this.process.id,
      n: ++this.record.sent,
      lineage: { ...this.lineage, chain },
    })
  }

  /** Takes the sends to one receiver out of the outbox: a call releases them first (M5). */
  release(target: ProcessId): NewMessage[] {
    const mine = this.outbox.messages.filter((message) => message.target === target)
    if (mine.length > 0) this.outbox.messages = this.outbox.messages.filter((message) => message.target !== target)
    return mine
  }
}

function added<T extends { readonly key: string }>(map: Map<string, T> | null, entry: T): Map<string, T> {
  return (map ?? new Map<string, T>()).set(entry.key, entry)
}
