/**
 * A message on its way to a process: what is said, and who must hear the outcome.
 *
 * - `args` is a locked copy (shared/value.ts): it never aliases the sender's objects.
 * - Exactly one outcome reaches `reply`: resolve or reject; later ones are dropped (no late replies).
 */
import type { RuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { Value } from '../../shared/value.ts'
import type { ExitReason } from './exit.ts'

/** Where the outcome of a call goes. Implementations ignore everything after the first call. */
export type ReplyTo = {
  /** A target that takes calls back asks before it begins: false when the caller gave up before (PROTOCOL M3). */
  begin?(): boolean
  /** The outcome is there, or nobody waits for it any more. */
  readonly settled: boolean
  resolve(value: Value): void
  reject(error: RuntimeError): void
}

/** What must travel with a message so that one conversation stays one trace and cycles are seen. */
export type Lineage = {
  /** Message id that caused this one; null from outside. */
  cause: string | null
  /** First message of the conversation. */
  root: string | null
  traceparent: string | null
  /** Who acted: `operator:ana`, null for agents. */
  actor: string | null
  /** Callers that wait for this call, oldest first; empty for sends. */
  chain: readonly ProcessId[]
}

export const NO_LINEAGE: Lineage = { cause: null, root: null, traceparent: null, actor: null, chain: [] }

export type Envelope = {
  kind: 'call' | 'send' | 'timer' | 'exit' | 'down' | 'topic'
  op: string
  args: Value
  /** Sending process; null from outside. */
  from: ProcessId | null
  reply: ReplyTo | null
  lineage: Lineage
  /** Epoch ms at which it was sent. */
  at: number
  /** Epoch ms after which the caller does not wait any more; null without limit. */
  deadline: number | null
  /** Failed attempts so far. */
  attempts: number
  /** Id in the store; null while the message lives in memory only. */
  messageId: string | null
  /** Whatever the durable layer needs to find the row again; opaque to the kernel. */
  row: unknown
}

/** Body of an `exit` envelope: a trapped exit signal (OTP `{'EXIT', From, Reason}`). */
export type ExitSignal = { from: ProcessId; incarnation: number; reason: ExitReason }

/** Body of a `down` envelope: exactly one per monitor (OTP `{'DOWN', Ref, process, Target, Reason}`). */
export type DownSignal = { ref: string; process: ProcessId; incarnation: number; reason: ExitReason }
