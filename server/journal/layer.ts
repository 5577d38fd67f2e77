/**
 * The durable layer of one node: the parts of this folder, wired to one kernel and one store.
 *
 * - Hints: a stored message goes to its process at once when that runs here; otherwise somebody activates it. A lost
 *   hint only delays: recovery finds pending rows (PROTOCOL M5).
 * - T7: when a row is refused, the speculative state is dropped and its turns run again, one per row; the turn that is
 *   refused alone has failed.
 */
import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { OVERSEER_AGENTS, type ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import { pause } from '../kernel/clock-port.ts'
import type { Envelope, ReplyTo } from '../kernel/envelope.ts'
import { FENCED } from '../kernel/exit.ts'
import type { Process } from '../kernel/process.ts'
import {
  type Commit,
  type MessageRow,
  type NewMessage,
  type ProcessRecord,
  type Release,
  WAKE,
} from '../store/store.ts'
import { Activator } from './activation.ts'
import { Chores } from './chores.ts'
import { Committer, type Stored } from './committer.ts'
import { isControl, takeControl } from './control-row.ts'
import { DeadlockSearch } from './deadlock.ts'
import { DurableBehaviour, recordOf } from './durable.ts'
import { forgetBegun, heldRows, rejectUnknown } from './held-row.ts'
import { consume, isAwaited, woken } from './late-reply.ts'
import type { LayerPorts } from './layer-port.ts'
import { MailboxReader } from './mailbox-reader.ts'
import { decodeOutcome, envelopeOf, newMessage, nodeTarget, toError } from './message.ts'
import { Parking } from './parking.ts'
import type { AgentEntry, DurablePorts } from './port.ts'
import type { Dropped, DurableRecord } from './record.ts'
import { startOver } from './refusal.ts'
import { Snapshotter } from './snapshotter.ts'
import { isPassing } from './store-failure.ts'
import { Suspects } from './suspicion.ts'
import { endBySignal, judge } from './tie-signal.ts'
import { TieSweeper } from './tie-sweeper.ts'
import { TimerService } from './timer-service.ts'
import { TreeBook } from './tree-book.ts'

/** Rows of one statement that takes answers for this node. */
const REPLIES_MAX = 1_000

/** Ms before a claim that could not be given back is given back again: first and largest wait. */
const RELEASE_MS_FIRST = 50
const RELEASE_MS_MAX = 2_000

export class DurableLayer {
  readonly ports: DurablePorts
  readonly committer: Committer
  readonly activator: Activator
  readonly timers: TimerService
  readonly snapshots: Snapshotter
  readonly sweeper: TieSweeper
  readonly deadlocks: DeadlockSearch
  readonly chores: Chores
  /** What is stored of supervisors and pools. */
  readonly book: TreeBook
  readonly parking: Parking
  readonly #host: LayerPorts
  readonly #behaviours = new Map<string, DurableBehaviour>()
  /** Calls of this node's outside world that wait for an answer by row. */
  readonly #remote = new Map<string, ReplyTo>()
  readonly #releasing = new Map<ProcessId, Promise<void>>()
  readonly #reader: MailboxReader

  constructor(host: LayerPorts) {
    const { store, clock, crash, emit } = host
    this.#host = host
    const node = (): ReturnType<LayerPorts['node']> => host.node()
    this.committer = new Committer({
      store,
      clock,
      emit,
      crash,
      codeVersion: host.codeVersion,
      node,
      loads: () => this.activator.count,
      stored: (record, commit, outcome, loads) => this.#stored(record, commit, outcome, loads),
      refused: (record, refused) => {
        if (record.keeper !== null) record.keeper.refused(record, refused)
        else startOver(this.ports, record, refused)
      },
      fenced: (record, dropped) => this.#fenced(record, dropped),
      nodeFenced: () => host.nodeFenced(),
    })
    this.activator = new Activator({
      store,
      clock,
      crash,
      node,
      stopped: () => host.stopped(),
      nodeFenced: () => host.nodeFenced(),
    })
    this.sweeper = new TieSweeper({
      store,
      clock,
      node,
      told: (ids) => this.#told(ids),
      failed: (error) => host.failed('looking for ties that end', error),
    })
    this.snapshots = new Snapshotter({ store, clock, crash, node, failed: (error) => host.failed('snapshot', error) })
    this.chores = new Chores({ store, clock, crash, node, agents: host.agents, failed: host.failed })
    this.deadlocks = new DeadlockSearch({
      store,
      clock,
      node,
      clockOffset: () => host.clockOffset(),
      records: () => this.#records(),
      failed: (error) => host.failed('looking for deadlocks over nodes', error),
    })
    this.timers = this.#newTimers()
    this.parking = this.#newParking()
    this.#reader = this.#newReader()
    this.ports = {
      ...host,
      committer: this.committer,
      suspects: new Suspects(clock),
      copies: new WeakMap(),
      deliver: (row) => this.deliver(row),
      reread: (id) => this.reread(id),
      forward: (record, envelope) => this.#forward(record, envelope),
      hintOwner: (record) => {
        if (record.owner !== null && record.owner !== host.node().id) host.hintNode(record.owner, record.id)
      },
      release: (record) => this.#release(record),
      giveUp: (id, process, claim) => this.#giveUp(id, { process, claim }),
      released: (id) => this.released(id),
      sweep: (id) => this.sweeper.add(id),
      revived: (record) => this.parking.revived(record),
      timerArmed: (due) => this.timers.armed(due),
    }
    const { activator, committer } = this
    this.book = new TreeBook({
      ...this.ports,
      activator,
      committer,
      childSpec: (agent, key) => host.childSpec(agent, key),
    })
  }

  #newTimers(): TimerService {
    const { store, clock, crash, node } = this.#host
    return new TimerService({
      store,
      clock,
      crash,
      node: () => node(),
      clockOffset: () => this.#host.clockOffset(),
      loads: () => this.activator.count,
      deliver: (row, loads) => this.deliver(row, loads),
      failed: (error) => this.#host.failed('firing timers', error),
      mayHaveLost: () => this.#host.mayHaveLost(),
    })
  }

  #newReader(): MailboxReader {
    const { namespace, store, clock, stopped, failed } = this.#host
    return new MailboxReader({
      ...{ namespace, store, clock, stopped, failed },
      found: (row, record) => this.deliver(row, record.loads),
      moved: (id) => this.reread(id),
    })
  }

  #newParking(): Parking {
    return new Parking({
      ...this.#host,
      releasing: this.#releasing,
      keep: (id, envelope) => this.#forward({ id, owner: null }, envelope),
      timerArmed: (due) => this.timers.armed(due),
      looked: (id) => this.sweeper.done(id),
      poke: (id) => this.poke(id),
    })
  }

  behaviour(agent: AgentEntry): DurableBehaviour {
    const name = agent.code.name
    let behaviour = this.#behaviours.get(name)
    if (behaviour === undefined) {
      behaviour = new DurableBehaviour(this.ports, agent, this.activator)
      this.#behaviours.set(name, behaviour)
    }
    return behaviour
  }

  /** Awaited by whoever claims the process again. */
  released(id: ProcessId): Promise<void> {
    return this.#releasing.get(id) ?? Promise.resolve()
  }

  /** What keeps the store in order, beside the work. */
  startChores(): void {
    this.deadlocks.start()
    this.chores.start()
  }

  close(): void {
    this.deadlocks.close()
    this.chores.close()
    this.timers.close()
    this.snapshots.close()
    this.sweeper.close()
    this.committer.close()
  }

  // Hints

  /** @param loads  of this node when the statement was sent that stored the row; unknown counts as long ago */
  deliver(row: MessageRow, loads = 0): void {
    if (row.target.startsWith('node/')) return this.#deliverToNode(row.target)
    const process = this.ports.kernel.find(row.target)
    // W2: a parked turn has no use for it. Should the process run elsewhere by now, its owner is told.
    if (process === undefined)
      return this.parking.ignores(row.target, row) ? this.#tellOwner(row.target) : this.poke(row.target)
    const record = recordOf(process)
    // M1: it may be of a time before the load and handled by an owner in between. The store knows.
    if (record !== null && loads < record.loads && record.loaded?.has(row.ord) !== true) return this.reread(row.target)
    // M5: what comes while the mailbox is read must not overtake what the reading finds.
    if (this.#reader.keeps(row)) return
    if (record === null) {
      // Starting: what arrives is compared with what the load brought (durable.ts).
      if (process.alive) this.ports.kernel.post(process, envelopeOf(row))
      return
    }
    if (record.loaded?.delete(row.ord) === true) return
    if (row.kind === 'reply') return this.#onReply(record, row)
    if (isControl(row)) return takeControl(this.ports, record, row)
    if (row.op === WAKE) return woken(this.ports, record, row)
    const envelope = envelopeOf(row)
    // An exit signal takes effect at once, in the middle of a turn too; while it is loaded, at its place.
    const now = row.kind === 'exit' && process.alive && process.status !== 'starting'
    if (now && judge(record, envelope) === 'end') return endBySignal(this.ports.kernel, record, envelope)
    this.ports.kernel.post(process, envelope)
  }

  /** Somebody must fetch what waits for `id`: here when it can run here. */
  poke(id: ProcessId): void {
    const at = id.indexOf('/')
    try {
      const process = this.ports.start(id, id.slice(0, at), id.slice(at + 1))
      if (process === null) this.#tellOwner(id)
    } catch (error) {
      // A full or stopped pool: the row stays, recovery comes back to it.
      this.#host.failed(`activating ${id}`, error)
    }
  }

  /** Nobody alive owns it: a supervisor's row goes to its ledger, anything else is started. */
  recover(id: ProcessId, agent: string): Promise<void> | undefined {
    if (OVERSEER_AGENTS.has(agent)) return this.book.recover(id)
    this.poke(id)
    return undefined
  }

  /** It cannot run here; the node that runs it must look. */
  #tellOwner(id: ProcessId): void {
    this.#host.ownerOf(id).then(
      (owner) => {
        if (owner !== null && owner !== this.#host.node().id) this.#host.hintNode(owner, id)
      },
      (error: unknown) => this.#host.failed(`finding the owner of ${id}`, error),
    )
  }

  *#records(): Iterable<DurableRecord> {
    for (const process of this.ports.kernel.all()) {
      const record = recordOf(process)
      if (record !== null) yield record
    }
  }

  /** Rows of the mailbox that are in memory, in whatever state. */
  held(process: Process): number {
    const record = recordOf(process)
    if (record === null) return Number.POSITIVE_INFINITY
    return heldRows(process, record).size
  }

  #onReply(record: DurableRecord, row: MessageRow): void {
    const waiter = record.waiting.get(row.op)
    if (waiter !== undefined) return waiter.settle(row)
    if (isAwaited(record, row)) record.replies.set(row.op, row)
    else consume(this.ports, record, row)
  }

  // Callers outside any process whose target lives on another node

  /** A message for a process that another node runs, or nobody at the moment: it waits in the store. */
  forward(id: ProcessId, envelope: Envelope): void {
    this.#host.ownerOf(id).then(
      (owner) => this.#forward({ id, owner }, envelope),
      (error: unknown) => {
        const message = `The owner of ${id} could not be found out.`
        this.#notForwarded(envelope, new RuntimeError('STORE_UNAVAILABLE', message, { cause: error }))
      },
    )
  }

  #forward(owner: Pick<ProcessRecord, 'id' | 'owner'>, envelope: Envelope): void {
    // From here on another node decides when it begins.
    if (envelope.reply?.begin?.() === false) return
    const node = this.#host.node()
    const call = this.ports.newId()
    if (envelope.reply !== null) this.#remote.set(call, envelope.reply)
    const message: NewMessage = newMessage({
      id: envelope.messageId ?? call,
      target: owner.id,
      kind: envelope.kind,
      op: envelope.op,
      args: envelope.args,
      sender: envelope.from,
      n: 0,
      lineage: envelope.lineage,
      replyTo: envelope.reply === null ? null : { kind: 'node', node: node.id, epoch: node.epoch, call },
      deadline: envelope.deadline === null ? null : Math.ceil(envelope.deadline + this.#host.clockOffset()),
    })
    this.ports.store.enqueue(node, [message]).then(
      () => {
        if (owner.owner !== null) this.#host.hintNode(owner.owner, owner.id)
      },
      (error: unknown) => {
        this.#remote.delete(call)
        const message = `The call of ${owner.id} could not be stored for its node.`
        this.#notForwarded(envelope, new RuntimeError('CALL_OUTCOME_UNKNOWN', message, { cause: error }))
      },
    )
  }

  /** K20: callers from outside that a drain leaves without an answer hear at its end that the runtime stopped. */
  #notForwarded({ from, reply }: Envelope, error: RuntimeError): void {
    if (from !== null || !this.ports.draining()) return reply?.reject(error)
    if (!isRuntimeError(error.cause, 'FENCED')) this.#host.failed('passing on a call', error)
  }

  /** Takes the answers that came for callers of this node. */
  async takeReplies(): Promise<void> {
    const node = this.#host.node()
    for (let taken = REPLIES_MAX; taken === REPLIES_MAX; ) {
      const rows = await this.ports.store.take(node, nodeTarget(node.id, node.epoch), REPLIES_MAX)
      for (const row of rows) this.#answerRemote(row)
      taken = rows.length
    }
  }

  #deliverToNode(target: ProcessId): void {
    const node = this.#host.node()
    if (target === nodeTarget(node.id, node.epoch)) {
      this.takeReplies().catch((error: unknown) => this.#host.failed('taking replies', error))
      return
    }
    const id = Number(target.slice('node/'.length).split('-')[0])
    this.#host.hintNode(id, target)
  }

  #answerRemote(row: MessageRow): void {
    const reply = this.#remote.get(row.op)
    if (reply === undefined) return this.#host.answered(row.op)
    this.#remote.delete(row.op)
    const out = decodeOutcome(row.args)
    if ('ok' in out) reply.resolve(out.ok)
    else reply.reject(toError(out))
  }

  // What the committer tells

  #stored(record: DurableRecord, commit: Commit, { ords, at, told }: Stored, loads: number): void {
    if (commit.consumed !== undefined) this.#reader.consumed(record.id, commit.consumed)
    const messages = commit.messages ?? []
    if (messages.length > 0) {
      this.#host.crash.hit('commit:before-hint')
      messages.forEach((message, i) => {
        const ord = ords[i]
        // A commit that was read back gave no positions: the receiver must read its rows.
        if (ord === undefined) this.reread(message.target)
        // M5: what an earlier owner sent and told nobody comes first.
        else this.deliver({ ...message, ord, at, attempts: 0, recoveries: 0 }, record.mayHaveOwed(message) ? 0 : loads)
      })
    }
    if (commit.links !== undefined || commit.ends !== undefined) this.sweeper.add(record.id)
    if (commit.ends !== undefined || commit.requests !== undefined) {
      if (told === undefined) this.#host.mayHaveLost()
      else this.#told(told, commit.requests !== undefined)
    }
    if (commit.requests !== undefined) this.#host.requestsStored(commit.requests)
    if (record.patchBytes > 0) this.snapshots.consider(record)
    // It was on its way when the epoch ended. What waits behind it never leaves.
    if (record.fenced) this.#fenced(record, record.drop())
  }

  /** An end or a result put rows into these mailboxes. */
  #told(ids: readonly ProcessId[], isResult = false): void {
    if (ids.length > 0) this.#host.crash.hit('commit:before-hint')
    if (isResult && ids.some((id) => !id.startsWith('node/'))) this.#host.crash.hit('waiter:told')
    for (const id of ids) {
      if (id.startsWith('node/')) this.#deliverToNode(id)
      else this.reread(id)
    }
  }

  /** Reads the mailbox of a process from the store and posts what it does not have. */
  reread(id: ProcessId): void {
    const process = this.ports.kernel.find(id)
    if (process === undefined) return this.poke(id)
    const record = recordOf(process)
    // K73: on its way into its next incarnation it takes messages, and is not loaded again.
    if (!process.alive) this.poke(id)
    if (record === null) {
      if (!process.alive) return
      // It is being loaded, perhaps from before the row: look again when it is up. A start that fails looks by itself.
      this.ports.kernel.started(process).then(
        () => recordOf(process) !== null && this.reread(id),
        () => {},
      )
      return
    }
    this.#reader.read(process, record)
  }

  #fenced(record: DurableRecord, { flying, waiting, opens }: Dropped): void {
    if (record.keeper !== null) return record.keeper.fenced(record)
    const { process } = record
    for (const open of opens) for (const { envelope } of open.taken?.values() ?? []) rejectUnknown(envelope, record)
    for (const part of [...flying, ...waiting]) {
      part.settle({ kind: 'fenced' })
      if (part.envelope !== undefined) rejectUnknown(part.envelope, record)
    }
    const { id, incarnation } = process
    this.ports.emit({ kind: 'process:fenced', at: this.ports.clock.now(), id, incarnation })
    if (process.slot !== record) return
    if (process.alive) return this.ports.kernel.end(process, FENCED)
    // On its way into its next incarnation, which begins elsewhere or from what is stored.
    forgetBegun(process, record, null)
    process.slot = null
  }

  /** The node's epoch is over: what this process did and has not stored is void. */
  fence(record: DurableRecord): void {
    record.fenced = true
    // A flight settles by itself, when the store has refused it.
    if (!record.flying) this.#fenced(record, record.drop())
    else if (record.process.slot === record) this.ports.kernel.end(record.process, FENCED)
  }

  #release({ id, pid, claim, isOwed }: DurableRecord): Promise<void> {
    return this.#giveUp(id, { process: pid, claim, open: isOwed })
  }

  #giveUp(id: ProcessId, claim: Release): Promise<void> {
    // What is still to be looked for would be forgotten with the claim (tie-sweeper.ts).
    const released = this.sweeper.done(id).then(() => this.#letGo(id, claim))
    this.#releasing.set(id, released)
    return released
  }

  /** Until the store takes it: what a live node owns and does not run is found by nobody. */
  async #letGo(id: ProcessId, claim: Release): Promise<void> {
    for (let wait = RELEASE_MS_FIRST; ; wait = Math.min(wait * 2, RELEASE_MS_MAX)) {
      try {
        await this.ports.store.release(this.#host.node(), [claim])
        this.#host.crash.hit('passivation:released')
        break
      } catch (error) {
        if (wait === RELEASE_MS_FIRST) this.#host.failed(`releasing ${id}`, error)
        if (!isPassing(error) || this.#host.stopped()) break
        await pause(this.ports.clock, wait)
      }
    }
    this.#releasing.delete(id)
  }

  /** Takes an idle process out of memory and gives its claim back. False when it is busy, tied or has work. */
  passivate(process: Process): boolean {
    const record = recordOf(process)
    if (record === null || record.pending || record.open !== null || process.status !== 'idle') return false
    if (!this.ports.kernel.passivate(process)) return false
    process.slot = null
    record.fenced = true
    void this.#release(record)
    const { id, incarnation } = process
    this.ports.emit({ kind: 'process:passivate', at: this.ports.clock.now(), id, incarnation, seq: record.seq })
    return true
  }

  /** The committed value; undefined when the process is not in memory here. */
  committed(id: ProcessId): { value: Value; seq: number; at: number } | undefined {
    const process = this.ports.kernel.find(id)
    const record = process === undefined ? null : recordOf(process)
    return record === null || record.fenced
      ? undefined
      : { value: record.acked, seq: record.ackedSeq, at: record.ackedAt }
  }
}
