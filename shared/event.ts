/**
 * Everything the runtime tells about itself, as one closed union: an API (docs/events.md).
 *
 * - Births, deaths, failures and decisions are events; numbers are counters read by samplers. Nothing here is emitted
 *   per message: turn and step events exist only while somebody subscribes to them.
 * - A run that failed carries the same keys as one that succeeded.
 */
import type { ErrorData } from './error.ts'
import type { ProcessId } from './id.ts'
import type { ProcessKind } from './snapshot.ts'

/** `cancelled`: its code heard of a cancellation and ended with it. */
export type TurnOutcome = 'done' | 'failed' | 'cancelled'

type Of = { id: ProcessId; incarnation: number }

export type RuntimeEvent = { at: number } & (
  | ({ kind: 'process:start'; processKind: ProcessKind; agent: string | null; parent: ProcessId | null } & Of)
  | ({ kind: 'process:exit'; reason: string; restarts: boolean; error: ErrorData | null } & Of)
  | ({ kind: 'process:restart'; delayMs: number } & Of)
  | ({ kind: 'process:activate'; durationMs: number; seq: number } & Of)
  | ({ kind: 'process:passivate'; seq: number } & Of)
  | ({ kind: 'process:suspend'; actor: string } & Of)
  | ({ kind: 'process:resume'; actor: string } & Of)
  | ({ kind: 'process:diverge'; turn: string; expected: string; found: string; codeVersion: string } & Of)
  | ({ kind: 'process:fenced' } & Of)
  | ({ kind: 'supervisor:give-up'; intensity: number; periodMs: number; child: string } & Of)
  | ({ kind: 'supervisor:child-failed'; child: string; error: ErrorData; attempt: number } & Of)
  | ({ kind: 'turn:start'; turn: string | null; op: string; from: string | null; traceparent: string | null } & Of)
  | ({ kind: 'turn:stop'; turn: string | null; op: string; durationMs: number; outcome: TurnOutcome } & Of)
  | ({ kind: 'turn:interrupt'; turn: string | null; op: string } & Of)
  | ({ kind: 'step:start'; turn: string; step: string; attempt: number } & Of)
  | ({
      kind: 'step:stop'
      turn: string
      step: string
      attempt: number
      durationMs: number
      outcome: 'done' | 'failed'
    } & Of)
  | ({ kind: 'failure'; failureId: string; class: string; error: ErrorData; decision: string; op: string | null } & Of)
  | ({ kind: 'dead-letter'; messageId: string; op: string; reason: string } & Of)
  | ({ kind: 'log'; level: 'debug' | 'info' | 'warn' | 'error'; message: string; data: unknown } & Of)
  | ({ kind: 'thread:block'; op: string | null; durationMs: number; stack: readonly string[] } & Of)
  | { kind: 'commit:stop'; rows: number; turns: number; durationMs: number; outcome: 'done' | 'rejected' | 'unknown' }
  | { kind: 'store:down'; error: ErrorData }
  | { kind: 'store:up'; downMs: number }
  | { kind: 'node:join'; node: string; epoch: number }
  | { kind: 'node:leave'; node: string; epoch: number; reason: 'drained' | 'dead' }
  | { kind: 'recovery:stop'; processes: number; durationMs: number }
  | { kind: 'audit'; actor: string; verb: string; target: string; reason: string | null; outcome: string }
  | { kind: 'runtime:start'; durationMs: number }
  | { kind: 'runtime:drain'; reason: string }
  | { kind: 'runtime:stop' }
)

export type EventKind = RuntimeEvent['kind']
export type EventOf<K extends EventKind> = Extract<RuntimeEvent, { kind: K }>

/** Hands an event to whoever listens. Never throws, allocates nothing without a subscriber. */
export type Emit = (event: RuntimeEvent) => void
