/**
 * The behaviour of ephemeral agents: plain state in memory, handlers run one at a time, results are the replies.
 *
 * - K15: a reply is a copy that belongs to the caller; `undefined` is answered as null. A result that cannot be
 *   copied crashes the agent, as a bad return value does in OTP.
 * - K16: a handler that throws a rejection (`CALL_REJECTED`) answers with it and goes on; any other throw is a crash.
 * - A synchronous handler completes without any await; its turn costs no promise.
 */

import { isRuntimeError, RuntimeError } from '../../shared/error.ts'
import { clone, type Value } from '../../shared/value.ts'
import type { Behaviour } from './behaviour.ts'
import type { DownSignal, Envelope, ExitSignal } from './envelope.ts'
import type { ExitReason } from './exit.ts'
import type { Process } from './process.ts'
import { isThenable } from './thenable.ts'

/** What the kernel needs to know of an agent definition. */
export type AgentCode = {
  readonly name: string
  readonly version: number
  readonly durable: boolean
  readonly mailboxLimit: number
  readonly handlers: ReadonlyMap<string, (ctx: unknown, args: Value) => unknown>
  readonly queries: ReadonlyMap<string, (state: unknown, args: Value) => unknown>
  init(): unknown
  readonly activated: ((ctx: unknown) => unknown) | null
  readonly terminate: ((ctx: unknown, reason: ExitReason) => unknown) | null
  readonly onExit: ((ctx: unknown, signal: ExitSignal) => unknown) | null
  readonly onDown: ((ctx: unknown, signal: DownSignal) => unknown) | null
}

/** A handler returns this when the answer comes later, through `Kernel.defer`. */
export const NO_REPLY: unique symbol = Symbol.for('vivarium.noReply') as never // unique symbols need a cast here

export class EphemeralBehaviour implements Behaviour {
  readonly durable = false
  readonly plainInit: boolean
  readonly code: AgentCode
  readonly #ctxFor: (process: Process) => unknown

  constructor(code: AgentCode, ctxFor: (process: Process) => unknown) {
    this.code = code
    this.plainInit = code.activated === null
    this.#ctxFor = ctxFor
  }

  init(process: Process): void | Promise<void> {
    process.state = this.code.init()
    if (this.code.activated === null) return
    const result = this.code.activated(this.#ctx(process))
    if (isThenable(result)) return Promise.resolve(result).then(nothing)
  }

  turn(process: Process, envelope: Envelope): void | Promise<void> {
    const handler = this.code.handlers.get(envelope.op)
    if (handler === undefined || envelope.kind === 'exit' || envelope.kind === 'down') {
      return this.#other(process, envelope)
    }
    process.stats.stateVersion += 1
    const { reply } = envelope
    let result: unknown
    try {
      result = handler(this.#ctx(process), envelope.args)
    } catch (error) {
      return refuse(reply, error)
    }
    if (isThenable(result)) {
      return Promise.resolve(result).then(
        (value) => answer(reply, value),
        (error: unknown) => refuse(reply, error),
      )
    }
    answer(reply, result)
  }

  terminate(process: Process, reason: ExitReason): void | Promise<void> {
    const result = this.code.terminate?.(this.#ctx(process), reason)
    if (isThenable(result)) return Promise.resolve(result).then(nothing)
  }

  /** Reads the state without waiting for a turn. @throws OPERATION_UNKNOWN */
  query(process: Process, op: string, args: Value): Value {
    const query = this.code.queries.get(op)
    if (query === undefined) throw this.#unknown(op)
    return clone(query(process.state, args) ?? null)
  }

  #ctx(process: Process): unknown {
    if (process.ctx === undefined) process.ctx = this.#ctxFor(process)
    return process.ctx
  }

  /** Signals, queries that came as messages, and operations nobody defined. */
  #other(process: Process, envelope: Envelope): void | Promise<void> {
    const { kind, op, reply } = envelope
    if (kind === 'exit' || kind === 'down') return this.#signal(process, envelope)
    if (this.code.queries.has(op)) return answer(reply, this.query(process, op, envelope.args))
    if (reply !== null) reply.reject(this.#unknown(op))
    else process.stats.dropped += 1
  }

  #signal(process: Process, envelope: Envelope): void | Promise<void> {
    const { onExit, onDown } = this.code
    const handler = envelope.kind === 'exit' ? onExit : onDown
    if (handler === null) {
      process.stats.dropped += 1
      return
    }
    // The kernel made the body itself; kind and body belong together.
    const result = handler(this.#ctx(process), envelope.args as unknown as ExitSignal & DownSignal)
    if (isThenable(result)) return Promise.resolve(result).then(nothing)
  }

  #unknown(op: string): RuntimeError {
    const known = [...this.code.handlers.keys(), ...this.code.queries.keys()].join(', ')
    return new RuntimeError('OPERATION_UNKNOWN', `Agent ${this.code.name} has no operation ${op}. It has: ${known}.`)
  }
}

function answer(reply: Envelope['reply'], result: unknown): void {
  if (result === NO_REPLY) return
  if (reply !== null) reply.resolve(result === undefined ? null : clone(result))
}

function refuse(reply: Envelope['reply'], error: unknown): void {
  if (!isRuntimeError(error, 'CALL_REJECTED')) throw error
  reply?.reject(error)
}

function nothing(): void {}
