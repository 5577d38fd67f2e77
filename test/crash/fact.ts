/**
 * What the load of a child asked for and what it was promised, one JSON line per fact, appended synchronously: a line
 * written before SIGKILL is there after it.
 *
 * - `want` comes before the request, `done` after the promise resolved: sent is stored, started is stored, replied is
 *   committed. A want without a done may have happened or not, at most once.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'

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

export type Fact =
  | { f: 'want'; id: string; op: Operation }
  | { f: 'done'; id: string }
  | { f: 'failed'; id: string; why: string }

/** Operations started with an idempotency key: asked again after a crash, they must not happen again. */
export function isStarted(op: Operation): boolean {
  return op.kind === 'move' || op.kind === 'pay'
}

export function writeFact(file: string, fact: Fact): void {
  appendFileSync(file, `${JSON.stringify(fact)}\n`)
}

export type Facts = {
  wanted: ReadonlyMap<string, Operation>
  done: ReadonlySet<string>
  failed: ReadonlyMap<string, string>
}

export function readFacts(file: string): Facts {
  const wanted = new Map<string, Operation>()
  const done = new Set<string>()
  const failed = new Map<string, string>()
  for (const line of readLines(file)) {
    const fact = JSON.parse(line) as Fact // written by writeFact
    if (fact.f === 'want') wanted.set(fact.id, fact.op)
    else if (fact.f === 'done') done.add(fact.id)
    else failed.set(fact.id, fact.why)
  }
  return { wanted, done, failed }
}

export function readLines(file: string): string[] {
  return existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []
}
