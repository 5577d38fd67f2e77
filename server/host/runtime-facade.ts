/**
 * `Runtime`: what an app holds. Thin over the core; every method says what is durable when it resolves.
 */
import type { Server } from 'node:http'
import type { Hono } from 'hono'
import type { EventKind, RuntimeEvent } from '../../shared/event.ts'
import { type ProcessId, processId } from '../../shared/id.ts'
import { copy } from '../../shared/value.ts'
import type { Control } from '../control.ts'
import type { AnyAgent, Handlers } from '../definition/agent.ts'
import { Call } from '../definition/call.ts'
import { makeRef, REF, type Ref } from '../definition/ref.ts'
import { Feed } from '../feed/server.ts'
import { createApp, FEED_PATH } from '../http/app.ts'
import { createGuard, type GuardOptions } from '../http/guard.ts'
import type { Listening, ListenOptions } from '../http/listen.ts'
import type { Inspect } from '../observe/inspect.ts'
import type { StreamItem } from '../observe/streams.ts'
import type { RuntimeCore } from '../runtime.ts'
import type { Handle, StartOptions } from './handle.ts'
import type { Messenger } from './messenger.ts'
import type { RuntimeOptions } from './options.ts'
import { RuntimeControl } from './runtime-control.ts'
import { RuntimeInspect } from './runtime-inspect.ts'
import { StepDoor } from './step-door.ts'
import { bordered } from './store-border.ts'
import type { StreamHub, StreamReadOptions } from './stream-hub.ts'
import { ThreadWatch, watchOptions } from './thread-watch.ts'

export type ObserverOptions = Partial<GuardOptions> & { basePath?: string }

export class Runtime {
  readonly inspect: Inspect
  readonly control: Control
  readonly #core: RuntimeCore
  readonly #messenger: Messenger
  readonly #streams: StreamHub
  readonly #steps: StepDoor
  readonly #options: RuntimeOptions
  readonly #reader: RuntimeInspect
  #feed: Feed | null = null
  readonly #closers: (() => Promise<void> | void)[] = []

  constructor(core: RuntimeCore, options: RuntimeOptions) {
    this.#core = core
    this.#messenger = bordered(core.messenger)
    this.#streams = bordered(core.streams)
    this.#steps = bordered(new StepDoor(core))
    this.#options = options
    this.#reader = new RuntimeInspect(core)
    this.inspect = bordered(this.#reader)
    this.control = bordered(new RuntimeControl(core))
    this.#closers.push(() => this.#reader.close())
    const watched = watchOptions(options)
    if (watched !== null) this.#watch(new ThreadWatch(core, watched))
  }

  /** Name of this node, e.g. `host:1234`. */
  get name(): string {
    return this.#core.node.name
  }

  /** Where the data is: a folder or a database, never with a password. */
  get place(): string {
    return this.#core.backend.place
  }

  /** A typed reference. `await runtime.ref(cart, 'alice').add(item)` calls and resolves after the commit.
   *  @throws ID_INVALID */
  ref<D extends AnyAgent>(definition: D, key: string): Ref<D> {
    return makeRef(definition, key, this.#messenger)
  }

  /** Sends without waiting for an answer; resolves with the message id once the message is stored.
   *  @throws MAILBOX_FULL OPERATION_UNKNOWN VALUE_UNSUPPORTED SCHEMA_MISMATCH NODE_DRAINING  @throws STORE_UNAVAILABLE
   *  it may be stored or not: where twice would be wrong, use `start` with an idempotency key */
  send(call: Call<unknown>): Promise<string> {
    return this.#messenger.send(call)
  }

  /** Starts an operation of a durable agent that survives the death of its caller. Resolves once it is stored; the
   *  same idempotency key finds the earlier one. With `signal` one more message goes to the process in the same step,
   *  whether the operation was started by this call or before.
   *  @throws KEY_CONFLICT  the key belongs to a request with other arguments  @throws STORE_UNAVAILABLE  ask again with
   *  the same key */
  start<D extends AnyAgent & { on: Handlers<never> }>(
    definition: D,
    key: string,
    op: keyof D['on'] & string,
    message?: unknown,
    options: StartOptions = {},
  ): Promise<Handle> {
    const state = this.ref(definition, key) as { readonly [REF]: { id: ProcessId } } // every reference has it
    const target = { id: state[REF].id, agent: definition.name, key }
    return this.#messenger.begin(new Call<unknown>(this.#messenger, target, op, message), options)
  }

  /** Who holds a name taken with `ctx.register`, passive or alive; null when nobody does. */
  whereis(name: string): Promise<ProcessId | null> {
    return this.#messenger.whereis(name)
  }

  /** Gives a step with `external: true` its result; resolves once that is stored, and its process goes on with it on
   *  whatever node. @throws STEP_NOT_FOUND ALREADY_COMPLETED VALUE_UNSUPPORTED */
  completeStep(token: string, value?: unknown): Promise<void> {
    return this.#steps.settle(token, { value })
  }

  /** Fails a step with `external: true` for good; its caller hears STEP_FAILED with the error as cause.
   *  @throws STEP_NOT_FOUND ALREADY_COMPLETED */
  failStep(token: string, error: unknown): Promise<void> {
    return this.#steps.settle(token, { error })
  }

  /** The handle of an operation that was started under a key, by this process or another, before a crash or after.
   *  @throws REQUEST_UNKNOWN  nothing was started under it */
  handle(definition: AnyAgent, key: string, idempotencyKey: string): Promise<Handle> {
    return this.#messenger.handle(processId(definition.name, key), idempotencyKey)
  }

  /** Items of a stream that an agent writes with `ctx.stream`, from an offset on: what is stored, then what comes,
   *  until the stream is closed. A stream that nobody wrote yet is waited for. A `reset` item says which chunks are
   *  void because an attempt is repeated. Leaving the loop, or the signal, ends the reading.
   *  @throws STREAM_GAP  the offset is before what is kept; `detail.floor` is where reading is possible
   *  @throws STREAM_NOT_FOUND  it was taken away while it was read  @throws RUNTIME_STOPPED */
  stream(id: ProcessId, name: string, options: StreamReadOptions = {}): AsyncIterable<StreamItem> {
    return this.#streams.read(id, name, options)
  }

  /** Publishes to whoever subscribes on this node now; best effort. */
  publish(topic: string, message: unknown): void {
    this.#core.kernel.publish(topic, copy(message ?? null))
  }

  /** Listens to events (docs/events.md). Returns the end of it. */
  on(kinds: readonly EventKind[] | 'all', listener: (event: RuntimeEvent) => void): () => void {
    return this.#core.bus.listen(kinds, listener)
  }

  /** The observer and the admin API as a Hono app for any mount path. */
  observer(options: ObserverOptions = {}): Hono {
    return createApp({ ...options, inspect: this.inspect, control: this.control, streams: this.#streams })
  }

  /** Serves the feed (WebSocket) on a Node server of the host, at `path` (default `/api/v1/feed`); upgrades elsewhere
   *  are left alone. Returns the end of it. */
  attach(server: Server, options: Partial<GuardOptions> & { path?: string } = {}): () => void {
    const { path = FEED_PATH, ...guard } = options
    return this.#theFeed().attach(server, path, createGuard(guard))
  }

  /** Listens on a port of its own: observer, admin API and feed. Default 127.0.0.1:4711.
   *  @throws PORT_IN_USE  with the holder, where it can be found  @throws BIND_REFUSED  not loopback and no tokens */
  async listen(options: Partial<ListenOptions> = {}): Promise<Listening> {
    const { listen } = await import('../http/listen.ts')
    const data = options.data ?? this.#options.data ?? this.#core.backend.dataDir
    const guard = createGuard(options)
    const listening = await listen({
      ...options,
      ...(data === undefined ? {} : { data }),
      inspect: this.inspect,
      control: this.control,
      streams: this.#streams,
      feed: this.#theFeed().entrance(guard),
    })
    this.#closers.push(() => listening.close())
    return listening
  }

  #watch(watch: ThreadWatch): void {
    this.#core.watch = watch
    this.#closers.push(() => watch.close())
  }

  /** One for all places it is attached at: what two viewers watch is collected once, and its cost is counted once. */
  #theFeed(): Feed {
    if (this.#feed !== null) return this.#feed
    const { clock, node } = this.#core
    const feed = new Feed({
      inspect: this.inspect,
      control: this.control,
      streams: this.#streams,
      guard: createGuard({}),
      clock,
      random: this.#core.random,
      node: node.name,
      version: this.#options.codeVersion ?? 'dev',
      report: (error) => this.#core.complain('serving the feed', error),
    })
    this.#reader.signs.feed = () => feed.cost()
    this.#closers.push(() => feed.close())
    this.#feed = feed
    return feed
  }

  /** Drains and stops: turns finish or are parked, ownership is released, surfaces close. Safe to call twice. */
  async stop(reason = 'stop'): Promise<void> {
    await this.#core.stop(reason)
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
