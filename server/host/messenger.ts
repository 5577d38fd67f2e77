/**
 * How messages from outside, and from ephemeral processes, reach their targets.
 *
 * - A call resolves after the commit of a durable target; a send to one resolves once its row is stored.
 * - Calls hear of a refusal, sends throw it at the sender's verb; nothing is dropped silently here.
 */
import { RuntimeError } from '../../shared/error.ts'
import { assertKey, assertLabel, type ProcessId, splitId } from '../../shared/id.ts'
import { encodeCopied, type Value } from '../../shared/value.ts'
import type { Call, Caller } from '../definition/call.ts'
import { checkMessage } from '../journal/border.ts'
import { cancelArgs } from '../journal/cancellation.ts'
import type { DurableLayer } from '../journal/layer.ts'
import { newMessage } from '../journal/message.ts'
import type { AgentEntry } from '../journal/port.ts'
import { type Envelope, type Lineage, NO_LINEAGE } from '../kernel/envelope.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Process } from '../kernel/process.ts'
import type { NewMessage, NodeIdentity, RequestRow, Store } from '../store/store.ts'
import { underEpoch } from './epoch-write.ts'
import { Handle, type StartOptions } from './handle.ts'
import type { QueryReader } from './query-reader.ts'
import { argsHash } from './request-key.ts'
import type { RequestWaits } from './request-wait.ts'
import { rethrow } from './store-border.ts'
import { stoppedError, type Tree } from './tree.ts'

type MessengerPorts = {
  kernel: Kernel
  layer: DurableLayer
  tree: Tree
  store: Store
  queries: QueryReader
  waits: RequestWaits
  node(): NodeIdentity
  rejoin(): Promise<void>
  entry(agent: string): AgentEntry
  /** Code of a process runs: what it begins through a reference of the runtime is its own. */
  inside(): boolean
  /** @throws NODE_DRAINING RUNTIME_STOPPED */
  assertAccepting(): void
  /** Epoch ms of the store. */
  storeNow(): number
  newId(): string
  /** Traceparent for a message from outside; null without tracing. */
  produce(target: { id: ProcessId; agent: string }, op: string): string | null
  complain(what: string, error: unknown): void
}

export class Messenger implements Caller {
  readonly #ports: MessengerPorts

  constructor(ports: MessengerPorts) {
    this.#ports = ports
  }

  /** Caller: awaiting a call made by a reference from outside. */
  call(call: Call<unknown>, options: { timeoutMs?: number } = {}): Promise<unknown> {
    try {
      return this.route(null, call, options)
    } catch (error) {
      return Promise.reject(error) // what is refused at once is an outcome of the call as well
    }
  }

  route(from: Process | null, call: Call<unknown>, options: { timeoutMs?: number; lineage?: Lineage }): Promise<Value> {
    const { kernel, queries } = this.#ports
    const entry = this.#ports.entry(call.agent)
    const { code, definition } = entry
    if (code.queries.has(call.op)) {
      return queries.query(call.target, call.op, checkMessage(entry, call.op, call.message).args)
    }
    // Ephemeral calls without a schema are checked where they run: the border would copy a second time.
    const needsBorder = definition.durable || call.op in definition.schemas
    const message = needsBorder ? checkMessage(entry, call.op, call.message).args : call.message
    if (from !== null) return kernel.call(from, call.target, call.op, message, options)
    if (!this.#ports.inside()) this.#ports.assertAccepting()
    const lineage = this.#traced(options.lineage ?? NO_LINEAGE, call)
    const traced = lineage.traceparent === null ? options : { ...options, lineage }
    return kernel.call(null, call.target, call.op, message, traced)
  }

  /** A send of an ephemeral process. To durable agents it is stored; a failure to store it is an event. */
  sendFrom(from: Process | null, call: Call<unknown>, lineage: Lineage): void {
    const { kernel, complain } = this.#ports
    const { definition } = this.#ports.entry(call.agent)
    if (!definition.durable) return kernel.send(call.target, call.op, call.message, { from, lineage })
    this.send(call, { from: from?.id ?? null, lineage }).catch((error: unknown) => {
      complain(`a send to ${call.target}`, error)
    })
  }

  /** Resolves with the message id once the message is stored (durable agents) or queued (ephemeral ones). */
  async send(call: Call<unknown>, options: { from?: ProcessId | null; lineage?: Lineage } = {}): Promise<string> {
    const { kernel, layer, store } = this.#ports
    call.used = true
    this.#ports.assertAccepting()
    const entry = this.#ports.entry(call.agent)
    assertKey(call.key)
    const id = this.#ports.newId()
    const given = options.lineage ?? NO_LINEAGE
    const lineage = options.from == null ? this.#traced(given, call) : given
    const { args } = checkMessage(entry, call.op, call.message)
    if (!entry.definition.durable) {
      kernel.send(call.target, call.op, args, { lineage, messageId: id })
      return id
    }
    this.#assertRoom(call.target)
    const message = newMessage({
      id,
      target: call.target,
      kind: 'send',
      op: call.op,
      args,
      sender: options.from ?? null,
      n: 0,
      lineage: { ...lineage, root: lineage.root ?? id },
    })
    const loads = layer.activator.count
    const [ord] = await underEpoch(this.#ports, (node) => store.enqueue(node, [message]))
    const fresh = { at: this.#ports.storeNow(), attempts: 0, recoveries: 0 }
    if (ord !== undefined) layer.deliver({ ...message, ...fresh, ord }, loads)
    return id
  }

  /** Starts an operation that survives its caller; the same key starts it once (PROTOCOL M4). */
  async begin(call: Call<unknown>, options: StartOptions, lineage: Lineage = NO_LINEAGE): Promise<Handle> {
    this.#ports.assertAccepting()
    return this.beginInside(call, options, lineage)
  }

  /** The same for a turn in hand, which may go on while the node drains. */
  async beginInside(call: Call<unknown>, options: StartOptions, lineage: Lineage): Promise<Handle> {
    const { layer, store } = this.#ports
    call.used = true
    const entry = this.#ports.entry(call.agent)
    const { args, isQuery } = checkMessage(entry, call.op, call.message)
    if (!entry.definition.durable || isQuery) {
      throw new RuntimeError(
        'REQUEST_INVALID',
        `start needs a handler of a durable agent; ${call.agent}.${call.op} is none.`,
      )
    }
    if (options.idempotencyKey !== undefined) assertLabel('Idempotency key', options.idempotencyKey)
    const id = this.#ports.newId()
    const scope = call.target
    const key = options.idempotencyKey ?? id
    const hash = argsHash(call.op, encodeCopied(args))
    const message = newMessage({
      id,
      target: call.target,
      kind: 'call',
      op: call.op,
      args,
      sender: null,
      n: 0,
      lineage: { ...this.#traced(lineage, call), root: lineage.root ?? id },
      replyTo: { kind: 'request', scope, key },
    })
    const signal = options.signal === undefined ? undefined : this.#signal(entry, message, options.signal)
    const wanted = { scope, key, argsHash: hash, expiresAt: null, message, ...(signal === undefined ? {} : { signal }) }
    const loads = layer.activator.count
    const { row, created, ord, signalOrd } = await underEpoch(this.#ports, (node) => store.request(node, wanted))
    if (!created && row.argsHash !== hash) {
      throw new RuntimeError(
        'KEY_CONFLICT',
        `Idempotency key ${JSON.stringify(key)} of ${scope} belongs to a request with other arguments.`,
      )
    }
    if (signal !== undefined) layer.ports.crash.hit('start:signal-stored')
    const fresh = { at: this.#ports.storeNow(), attempts: 0, recoveries: 0 }
    if (created) layer.deliver({ ...message, ...fresh, ord }, loads)
    if (signal !== undefined) layer.deliver({ ...signal, ...fresh, ord: signalOrd }, loads)
    return this.#handle(row, created)
  }

  /** Names of ephemeral processes are of this node, those of durable ones rows. */
  async whereis(name: string): Promise<ProcessId | null> {
    const { kernel, store, node } = this.#ports
    return kernel.whereis(name)?.id ?? store.whereis(node().namespace, name)
  }

  #signal(entry: AgentEntry, start: NewMessage, signal: { op: string; message?: unknown }): NewMessage {
    const { args, isQuery } = checkMessage(entry, signal.op, signal.message)
    if (isQuery) throw new RuntimeError('REQUEST_INVALID', `A query cannot be a signal; ${signal.op} is one.`)
    const { root, traceparent, actor } = start
    const lineage = { ...NO_LINEAGE, root, traceparent, actor }
    const id = this.#ports.newId()
    return newMessage({ id, target: start.target, kind: 'send', op: signal.op, args, sender: null, n: 1, lineage })
  }

  /** The operation that was started under a key, by whomever. @throws REQUEST_UNKNOWN */
  async handle(scope: ProcessId, key: string): Promise<Handle> {
    const { store } = this.#ports
    const row = await store.requestRow(this.#ports.node().namespace, scope, key)
    if (row === null) {
      throw new RuntimeError('REQUEST_UNKNOWN', `Nothing of ${scope} was started under ${JSON.stringify(key)}.`)
    }
    return this.#handle(row, false)
  }

  #handle({ scope, key, process, messageId }: RequestRow, created: boolean): Handle {
    const { store, waits, node } = this.#ports
    const cancel = async (reason?: string): Promise<boolean> => {
      const row = await store.requestRow(node().namespace, scope, key)
      if (row?.status !== 'pending') return false
      await this.cancel(process, messageId, { reason, actor: null })
      return true
    }
    return new Handle(waits, {
      ...{ process: scope, key, messageId, created },
      cancel: (reason) => cancel(reason).catch(rethrow),
    })
  }

  /** The same for a turn in hand, which may go on while the node drains. */
  async endStarted(
    scope: ProcessId,
    key: string,
    { reason, from }: { reason: string | undefined; from: ProcessId },
  ): Promise<boolean> {
    const row = await this.#ports.store.requestRow(this.#ports.node().namespace, scope, key)
    if (row?.status !== 'pending') return false
    await this.#askEnd(row.process, row.messageId, { reason, actor: null, from })
    return true
  }

  /** Y1: resolves once the request for the end of the message's turn is stored. */
  async cancel(
    process: ProcessId,
    messageId: string,
    by: { reason?: string | undefined; actor: string | null },
  ): Promise<void> {
    this.#ports.assertAccepting()
    await this.#askEnd(process, messageId, { ...by, from: null })
  }

  async #askEnd(
    process: ProcessId,
    messageId: string,
    by: { reason?: string | undefined; actor: string | null; from: ProcessId | null },
  ): Promise<void> {
    const { layer, store } = this.#ports
    const id = this.#ports.newId()
    const message = newMessage({
      ...{ id, target: process, kind: 'cancel', op: messageId, args: cancelArgs(by.reason), sender: by.from, n: 0 },
      lineage: { ...NO_LINEAGE, root: id, actor: by.actor },
    })
    const [ord] = await underEpoch(this.#ports, (node) => store.enqueue(node, [message]))
    layer.ports.crash.hit('cancel:stored')
    if (ord !== undefined) layer.deliver({ ...message, ord, at: this.#ports.storeNow(), attempts: 0, recoveries: 0 })
  }

  /** A message for an id that is not in memory. */
  missing(id: ProcessId, envelope: Envelope): void {
    const { kernel, tree, layer } = this.#ports
    if (envelope.kind === 'call' || envelope.kind === 'send') {
      // W2: it is stored behind the open turn of a parked process, which it does not wake.
      if (layer.parking.ignores(id, envelope)) return layer.forward(id, envelope)
    }
    const { agent, key } = splitId(id)
    let process: Process | null = null
    let refusal: RuntimeError | null = null
    try {
      this.#ports.assertAccepting()
      assertKey(key)
      const stopper = tree.stopper(id)
      if (stopper !== null) throw stoppedError(id, stopper)
      process = tree.ensure(id, agent, key)
    } catch (error) {
      refusal =
        error instanceof RuntimeError ? error : new RuntimeError('INTERNAL', `${id} could not start.`, { cause: error })
    }
    if (process !== null) return kernel.post(process, envelope)
    if (refusal === null && tree.isStatic(id)) {
      // Another node runs it, or nobody does: the message waits in the store for whoever does.
      tree.adopt(id)
      return layer.forward(id, envelope)
    }
    const error =
      refusal ?? new RuntimeError('PROCESS_NOT_FOUND', `There is no process ${id}, and no pool of agent "${agent}".`)
    if (envelope.reply === null) throw error
    envelope.reply.reject(error)
  }

  /** A conversation that begins here is in the trace of whoever began it. */
  #traced(lineage: Lineage, call: Call<unknown>): Lineage {
    if (lineage.traceparent !== null) return lineage
    const traceparent = this.#ports.produce({ id: call.target, agent: call.agent }, call.op)
    return traceparent === null ? lineage : { ...lineage, traceparent }
  }

  #assertRoom(id: ProcessId): void {
    const process = this.#ports.kernel.find(id)
    if (process === undefined || process.mailboxLength < process.mailboxLimit) return
    throw new RuntimeError(
      'MAILBOX_FULL',
      `Mailbox of ${id} is full (${process.mailboxLength} of ${process.mailboxLimit}).`,
    )
  }
}
