/**
 * `ref.op(message)`: an inert call. Awaiting it calls, `ctx.send` enqueues it, nothing happens by making it.
 *
 * - One Call has one fate: it is called or sent once; a second use is the same outcome, not a second call.
 * - One left unused at the end of its turn fails the turn with CALL_NOT_USED: a forgotten `await` is a bug that
 *   nobody would see.
 */
import type { ProcessId } from '../../shared/id.ts'

export type CallOptions = {
  /** Ms until it is given up. */
  timeoutMs?: number
  /** Names it among calls of one operation to one process that a turn has open at once, as `key` of a step does. */
  key?: string
}

/** Carries a call to its target; the turn's context or the runtime from outside. */
export interface Caller {
  call(call: Call<unknown>, options?: CallOptions): Promise<unknown>
  /** Told of each call made on its references, so that unused ones are found. */
  made?(call: Call<unknown>): void
}

export class Call<T> implements PromiseLike<T> {
  readonly caller: Caller
  readonly target: ProcessId
  readonly agent: string
  readonly key: string
  readonly op: string
  readonly message: unknown
  used = false
  #outcome: Promise<T> | null = null

  constructor(caller: Caller, target: Target, op: string, message: unknown) {
    this.caller = caller
    this.target = target.id
    this.agent = target.agent
    this.key = target.key
    this.op = op
    this.message = message
    caller.made?.(this)
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaitable is what a Call is for
  then<R1 = T, R2 = never>(
    resolved?: ((value: T) => R1 | PromiseLike<R1>) | null,
    rejected?: ((reason: unknown) => R2 | PromiseLike<R2>) | null,
  ): Promise<R1 | R2> {
    return this.run().then(resolved, rejected)
  }

  catch<R = never>(rejected: (reason: unknown) => R | PromiseLike<R>): Promise<T | R> {
    return this.run().catch(rejected)
  }

  finally(done: () => void): Promise<T> {
    return this.run().finally(done)
  }

  /** Starts the call at the first time and gives its one outcome ever after. */
  run(options?: CallOptions): Promise<T> {
    this.used = true
    // The op's declared result type is what the target's handler returns; the border carries it as a Value.
    this.#outcome ??= this.caller.call(this, options) as Promise<T>
    return this.#outcome
  }
}

export type Target = { readonly id: ProcessId; readonly agent: string; readonly key: string }
