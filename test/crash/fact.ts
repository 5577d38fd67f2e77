/**
 * What the load of a child asked for and what it was promised, one JSON line per fact, appended synchronously: a line
 * written before SIGKILL is there after it.
 *
 * - `want` comes before the request, `done` after the promise resolved: sent is stored, started is stored, replied is
 *   committed. A want without a done may have happened or not, at most once.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import type { Effect } from './bank.ts'

export type Operation =
  /** Two calls in one turn of a teller, started with an idempotency key. */
  | { kind: 'move'; from: string; to: string; amount: number }
  /** A send from account to account, sent from outside. */
  | { kind: 'push'; from: string; to: string; amount: number }
  /** A plain call that nothing but its reply makes durable. */
  | { kind: 'add'; to: string; amount: number }
  /** Steps with effects outside, started with an idempotency key. */
  | { kind: 'pay'; clerk: string; amount: number }
  /** As `pay`, by a call without a row: T3 promises it once its turn is accepted. */
  | { kind: 'tip'; clerk: string; amount: number }
  /** A timer that must ring once. */
  | { kind: 'alarm'; clock: string; ms: number }
  /** One message for a key that nobody uses again: it passivates. */
  | { kind: 'visit'; guest: string }
  /** A page of a journal that is pruned all the time. */
  | { kind: 'note'; annals: string }
  /** A turn that waits, retries, streams or outlives its code, started with an idempotency key (errand.ts). */
  | { kind: 'errand'; of: Errand; key: string; ms: number; to: string; amount: number }
  /** A turn that is cancelled, takes things back, has children, or waits for what others do (saga.ts). */
  | { kind: 'saga'; of: Saga; key: string; end: SagaEnd; ms: number; cancel: SagaCancel | null }

export type Saga = 'trip' | 'tour' | 'vigil'

/** How it ends if nobody asks for its end; one that hangs has no other end. */
export type SagaEnd = 'arrive' | 'turn-back' | 'break-down' | 'hang'

/** When its end is asked for: `ms` after it left the line of a step, null for its start. */
export type SagaCancel = { after: string | null; ms: number }

export type Errand = 'nap' | 'order' | 'forge' | 'ship' | 'tell' | 'deal' | 'renew'

/** What a live reader got of a stream. */
export type Seen = { f: 'saw'; id: string; offset: number; what: string }

export type Fact =
  | { f: 'want'; id: string; op: Operation }
  | { f: 'done'; id: string }
  | { f: 'failed'; id: string; why: string }
  /** A signal that went with a start is stored. */
  | { f: 'signalled'; id: string; ask: string }
  /** The outcome of an external step is taken, and it is this one. */
  | { f: 'stamped'; id: string; by: string }
  | Seen

/** Operations started with an idempotency key: asked again after a crash, they must not happen again. */
export function isStarted(op: Operation): boolean {
  return op.kind === 'move' || op.kind === 'pay' || op.kind === 'errand' || op.kind === 'saga'
}

export function writeFact(file: string, fact: Fact): void {
  appendFileSync(file, `${JSON.stringify(fact)}\n`)
}

export type Facts = {
  wanted: ReadonlyMap<string, Operation>
  done: ReadonlySet<string>
  failed: ReadonlyMap<string, string>
  /** Pairs of operation and signal. */
  signalled: readonly { id: string; ask: string }[]
  stamped: readonly { id: string; by: string }[]
  seen: readonly Seen[]
}

export function readFacts(file: string): Facts {
  const wanted = new Map<string, Operation>()
  const done = new Set<string>()
  const failed = new Map<string, string>()
  const signalled: { id: string; ask: string }[] = []
  const stamped: { id: string; by: string }[] = []
  const seen: Seen[] = []
  for (const line of readLines(file)) {
    const fact = JSON.parse(line) as Fact // written by writeFact
    if (fact.f === 'want') wanted.set(fact.id, fact.op)
    else if (fact.f === 'done') done.add(fact.id)
    else if (fact.f === 'failed') failed.set(fact.id, fact.why)
    else if (fact.f === 'signalled') signalled.push(fact)
    else if (fact.f === 'stamped') stamped.push(fact)
    else seen.push(fact)
  }
  return { wanted, done, failed, signalled, stamped, seen }
}

/** What stands in the world outside, oldest first. */
export function readEffects(file: string): Effect[] {
  return readLines(file).map((line) => JSON.parse(line) as Effect) // written by bank.ts
}

export function readLines(file: string): string[] {
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []
}
