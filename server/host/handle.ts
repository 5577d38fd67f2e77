/** A started operation: its result outlives its caller, and any process of the system may wait for it. */
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import type { RequestWaits } from './request-wait.ts'

export type StartOptions = {
  /** The same key starts the operation once; with other arguments it is refused (KEY_CONFLICT). */
  idempotencyKey?: string
  /** Sent to the same process in the same step: behind the operation where this call starts it, and alone where it was
   *  started before. Nothing is sent when the start is refused. */
  signal?: { op: string; message?: unknown }
}

type HandleInit = {
  process: ProcessId
  key: string
  messageId: string
  created: boolean
  cancel: (reason?: string) => Promise<boolean>
}

export class Handle {
  readonly process: ProcessId
  readonly key: string
  readonly messageId: string
  /** False when an earlier start with this key was found. */
  readonly created: boolean
  readonly #waits: RequestWaits
  readonly #cancel: (reason?: string) => Promise<boolean>

  constructor(waits: RequestWaits, init: HandleInit) {
    this.#waits = waits
    this.#cancel = init.cancel
    this.process = init.process
    this.key = init.key
    this.messageId = init.messageId
    this.created = init.created
  }

  /** Resolves with the reply once its commit is stored. @throws the error the operation ended with  @throws
   *  REQUEST_UNKNOWN  it ended more than 30 days ago  @throws RUNTIME_STOPPED */
  result(options: { signal?: AbortSignal } = {}): Promise<Value> {
    return this.#waits.result(this.process, this.key, options.signal)
  }

  /** Asks for the end of the operation; resolves once the request is stored, with false when the operation was over
   *  before. Not begun, it is taken back; else its code hears CANCELLED at a wait (Y2). Whoever waits for the result
   *  hears what becomes of it. Safe to repeat. @throws NODE_DRAINING RUNTIME_STOPPED */
  cancel(reason?: string): Promise<boolean> {
    return this.#cancel(reason)
  }
}
