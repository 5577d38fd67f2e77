/**
 * Operations that a turn started as its children: what becomes of them when the turn ends (`parentClose`).
 *
 * - Y6: the policy is an entry before the start is begun, so that no end of the turn forgets it: `stop` cancels those
 *   whose result the turn has not heard, in the commit that carries the end, and when the turn itself is cancelled;
 *   `wait` keeps the end back until they are over. Those of a policy `detach` are no children at all.
 * - What has to be stopped is read from the journal: also a message that is buried with no code of it running stops
 *   them.
 */
import { isRuntimeError } from '../../shared/error.ts'
import type { ProcessId } from '../../shared/id.ts'
import type { NewMessage } from '../store/store.ts'
import { nameOf as turnNameOf } from './branch.ts'
import { type Entry, isResult } from './entry.ts'
import { newMessage } from './message.ts'
import type { DurableRecord, OpenTurn } from './record.ts'
import type { Turn } from './turn.ts'

/** Operation of a cancellation that names its message by the key of the start: no message has such an id. */
export const CHILD = '$child'

export type ChildPolicy = 'stop' | 'wait'

/** Keys of the results of started operations begin like this (turn-result.ts). */
const RESULT = 'result:'

type Child = {
  readonly process: ProcessId
  readonly of: string
  readonly policy: ChildPolicy
  /** Sections of the turn in which it was started. */
  readonly in?: readonly string[]
}

/** Children of the turn as its code has met them, in this run or replay. */
export class Children {
  readonly #recorded: ReadonlySet<string>
  readonly #met = new Map<string, Child>()
  readonly #heard = new Set<string>()
  /** Starts without an outcome. */
  readonly #starting = new Set<Promise<unknown>>()

  constructor(entries: readonly Entry[]) {
    this.#recorded = new Set(entries.flatMap((entry) => (entry.k === 'child' ? [nameOf(entry)] : [])))
  }

  /** Before its start is begun. */
  adopt(turn: Turn, child: Child): void {
    const name = nameOf(child)
    if (!this.#met.has(name) && !this.#recorded.has(name)) turn.append({ k: 'child', turn: turn.id, ...child })
    this.#met.set(name, child)
  }

  /** No end of the turn comes before it is known whether the child is there: else nobody could stop it. */
  starts(start: Promise<unknown>): void {
    this.#starting.add(start)
    const over = (): boolean => this.#starting.delete(start)
    start.then(over, over)
  }

  get starting(): Promise<unknown> | null {
    return this.#starting.size === 0 ? null : Promise.allSettled(this.#starting)
  }

  /** The code has its result. */
  heard(child: Pick<Child, 'process' | 'of'>): void {
    this.#heard.add(nameOf(child))
  }

  /** Those that the end of the turn waits for. */
  get left(): Child[] {
    return [...this.#met.values()].filter((child) => child.policy === 'wait' && !this.#heard.has(nameOf(child)))
  }
}

export function adoptChild(turn: Turn, child: Child): void {
  const { entries } = turn.accept()
  turn.children ??= new Children(entries)
  turn.children.adopt(turn, child)
}

/** Resolves when there may be less to wait for, null when there is nothing. A cancellation is not passed on to them,
 *  and waits. */
export function joinChildren(
  turn: Turn,
  resultOf: (child: { process: ProcessId; of: string }) => Promise<unknown>,
): Promise<unknown> | null {
  if (turn.children === null) return null
  const { left, starting } = turn.children
  if (starting !== null) return starting
  if (left.length === 0) return null
  turn.shields += 1
  // How they end is theirs; it was the code's to ask for, and it did not.
  return Promise.allSettled(left.map((child) => resultOf(child))).then(() => {
    for (const child of left) turn.children?.heard(child)
    turn.shields -= 1
  })
}

/** Whether an error that `result()` gave is the child's own end, and not the cancellation of the turn that asked, or of
 *  a section of it. */
export function isOfChild({ cancel, process }: Turn, error: unknown): boolean {
  if (!isRuntimeError(error, 'CANCELLED')) return true
  const { process: id, scope } = error.detail as { process?: unknown; scope?: unknown }
  return cancel?.delivered !== true && (id !== process.id || scope === undefined)
}

/** Children whose result the turn has not heard, oldest first. */
export function openChildren(entries: readonly Entry[]): Child[] {
  const found: Child[] = []
  const heard = new Set<string>()
  const ended = new Set<string>()
  for (const entry of entries.toReversed()) {
    // What was begun before a cancellation was heard was stopped with it.
    if (entry.k === 'cancelled') {
      if (entry.scope === undefined) break
      if (entry.left !== true) ended.add(entry.scope)
    } else if (isResult(entry) && entry.key.startsWith(RESULT)) {
      heard.add(entry.key.slice(0, entry.key.lastIndexOf('#')))
    } else if (entry.k === 'child' && !heard.has(RESULT + nameOf(entry))) {
      // A section that ended stopped those with the policy `stop` only; others are still there (Y8).
      const isStopped = entry.policy === 'stop' && entry.in?.some((key) => ended.has(key)) === true
      if (!isStopped) found.unshift(entry)
    }
  }
  return found
}

/** Cancellations of the children that a turn leaves behind. */
export function childrenToStop(record: DurableRecord, open: OpenTurn, why: string): NewMessage[] {
  return cancelsOf(record, open, { children: toStop(open), why })
}

/** Of those that were started in a section that ends (Y8). */
export function childrenOfScope(
  record: DurableRecord,
  open: OpenTurn,
  scope: { key: string; why: string },
): NewMessage[] {
  const children = toStop(open).filter((child) => child.in?.includes(scope.key) === true)
  return cancelsOf(record, open, { children, why: `gave it up in ${scope.key}: ${scope.why}` })
}

function toStop({ entries }: OpenTurn): Child[] {
  return openChildren(entries).filter(({ policy }) => policy === 'stop')
}

type Cancels = { readonly children: readonly Child[]; readonly why: string }

function cancelsOf({ id }: DurableRecord, open: OpenTurn, { children, why }: Cancels): NewMessage[] {
  const { envelope } = open
  return children.map((child) =>
    newMessage({
      ...{
        id: `${turnNameOf(open)}/${nameOf(child)}.${why}`,
        target: child.process,
        kind: 'cancel',
        op: CHILD,
        sender: id,
        n: 0,
      },
      args: { key: child.of, reason: `${id} that started it ${why}` },
      lineage: { ...envelope.lineage, chain: [], actor: null },
    }),
  )
}

function nameOf({ process, of }: Pick<Child, 'process' | 'of'>): string {
  return `${process} ${of}`
}
