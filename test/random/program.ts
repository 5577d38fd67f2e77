/**
 * Random programs for the interpreter agents: trees of commands, made of a seed and a number and of nothing else.
 *
 * - A body runs on one layer; what it calls, sends to, or starts is on the next one, so calls never make a cycle.
 * - A signal that is awaited without a time limit was always brought on its way before, by something that neither waits
 *   for the one who awaits it nor is rejected.
 * - Every command has a path (`p7.0.2`), which is the identity of all it does.
 */
import { Chance } from '../crash/chance.ts'

/** Root of a program, what it calls, and what that calls. */
export const LAYERS = 3
/** Processes per lower layer that all programs of a round share: few enough that they queue behind each other. */
export const KEYS = 12

export type Body = readonly Command[]

export type Command =
  /** Adds one to the program's counter in the process. */
  | { kind: 'count' }
  /** A step whose value is drawn by chance each time it runs. */
  | { kind: 'step' }
  /** A step that fails `fails` times and then comes good. */
  | { kind: 'flaky'; fails: number }
  /** A step that fails every attempt; the error is caught. */
  | { kind: 'hopeless' }
  /** A step that writes a stream of the value it returns, and closes it or leaves that to the handler. */
  | { kind: 'chunks'; count: number; closes: boolean }
  /** A stream that the handler writes itself. */
  | { kind: 'stream'; count: number }
  /** A task, whose value is drawn by chance each time it runs. */
  | { kind: 'task' }
  /** Registers what runs when the turn is rejected, and not otherwise. */
  | { kind: 'undo' }
  | { kind: 'draw' }
  /** A query of another agent: recorded as a step is. */
  | { kind: 'peek'; to: number }
  | { kind: 'sleep'; ms: number }
  /** A step that is completed from outside; `rivals` are two who do it at once. */
  | { kind: 'external'; outcome: 'value' | 'rivals' | 'error' }
  | { kind: 'call'; to: number; body: Body }
  /** A call whose body is rejected at its end; the rejection is caught. */
  | { kind: 'reject'; to: number; body: Body }
  | { kind: 'send'; to: number; body: Body }
  /** Started twice under one idempotency key, and awaited. */
  | { kind: 'start'; to: number; body: Body }
  /** Started as a child, and not awaited: the end of the turn waits for it. */
  | { kind: 'child'; to: number; body: Body }
  | { kind: 'after'; ms: number; body: Body }
  /** A timer that is cancelled, at once or when it may have fired; its body must never run. */
  | { kind: 'cancelled'; ms: number; fired: boolean; body: Body }
  /** Branches at once; `race` also records which one was first. */
  | { kind: 'parallel'; race: boolean; branches: Body }
  /** Sends and a call to one process, which must come in this order. */
  | { kind: 'burst'; to: number; count: number }
  /** Tells the root of the program. */
  | { kind: 'signal'; name: string }
  /** The root takes it in its turn; out of time its handler will get it. */
  | { kind: 'await'; name: string; timeoutMs: number | null }
  /** Throws at the first attempt of the message. */
  | { kind: 'crash' }
  | { kind: 'checkpoint' }
  /** A transaction that writes a row of the app. */
  | { kind: 'write' }

export type Kind = Command['kind']
export type Program = { readonly id: string; readonly body: Body }

/** Of 100 or so; kinds that need a lower layer fall away on the last one. */
const WEIGHTS: readonly (readonly [Kind, number])[] = [
  ...([
    ['count', 12],
    ['step', 12],
    ['flaky', 5],
    ['hopeless', 2],
    ['task', 3],
    ['undo', 3],
    ['chunks', 3],
    ['stream', 3],
  ] as const),
  ...([
    ['draw', 5],
    ['sleep', 7],
    ['external', 4],
    ['after', 4],
    ['cancelled', 3],
    ['parallel', 8],
  ] as const),
  ...([
    ['crash', 3],
    ['checkpoint', 4],
    ['write', 6],
  ] as const),
]
const DOWNWARD: readonly (readonly [Kind, number])[] = [
  ['call', 14],
  ['reject', 4],
  ['send', 7],
  ['start', 4],
  ['child', 3],
  ['burst', 4],
  ['peek', 2],
]
/** What may run beside others in one turn: no checkpoint, no crash, nothing that is one at a time. */
const BRANCHES: readonly Kind[] = ['step', 'flaky', 'sleep', 'call', 'reject', 'start', 'count', 'external']

/** Commands of a body by layer, at most. */
const SIZE = [5, 4, 3] as const
/** Ms. A wait this long outlasts the passivation time: the turn is parked. */
const LONG_SLEEP_MS = 300

/** The program with this number; the same for ever. */
export function programOf(seed: number, number: number): Program {
  const chance = new Chance(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b))
  return { id: `p${number}`, body: new Author(chance).root() }
}

class Author {
  readonly #chance: Chance
  #signals = 0

  constructor(chance: Chance) {
    this.#chance = chance
  }

  root(): Body {
    const body: Command[] = []
    const open: string[] = []
    for (let left = 2 + this.#chance.below(SIZE[0]); left > 0; left--) {
      if (this.#chance.below(5) === 0) {
        const name = `s${++this.#signals}`
        body.push(...this.#arrange(name))
        open.push(name)
      } else if (open.length > 0 && this.#chance.below(3) === 0) body.push(this.#await(open))
      else body.push(this.#command(0, false))
    }
    // A quarter of what is left is left to the handler.
    while (open.length > 0) {
      const awaited = this.#await(open)
      if (this.#chance.below(4) > 0) body.push(awaited)
    }
    return body
  }

  #await(open: string[]): Command {
    const [name = ''] = open.splice(this.#chance.below(open.length), 1)
    return { kind: 'await', name, timeoutMs: this.#chance.below(3) === 0 ? 1 + this.#chance.below(60) : null }
  }

  /** Commands of a root after which the signal comes for certain. */
  #arrange(name: string): Command[] {
    const signal: Command = { kind: 'signal', name }
    const to = this.#key()
    const around = (layer: number): Body => [...this.#some(layer), signal, ...this.#some(layer)]
    switch (this.#chance.below(5)) {
      case 0:
        return [{ kind: 'call', to, body: around(1) }]
      case 1:
        return [{ kind: 'call', to, body: [...this.#some(1), { kind: 'send', to: this.#key(), body: around(2) }] }]
      case 2:
        return [{ kind: 'start', to, body: around(1) }]
      case 3:
        return [{ kind: 'send', to, body: around(1) }, { kind: 'checkpoint' }]
      default:
        return [{ kind: 'call', to, body: [{ kind: 'after', ms: this.#shortMs(), body: around(1) }] }]
    }
  }

  #some(layer: number): Command[] {
    return this.#chance.below(2) === 0 ? [] : [this.#command(layer, false)]
  }

  #body(layer: number, rejects: boolean): Body {
    const size = 1 + this.#chance.below(SIZE[layer] ?? 1)
    return Array.from({ length: size }, () => this.#command(layer, rejects))
  }

  #command(layer: number, rejects: boolean): Command {
    const kinds = layer < LAYERS - 1 ? [...WEIGHTS, ...DOWNWARD] : WEIGHTS
    const drawn = kinds.flatMap(([kind, weight]) => Array<Kind>(weight).fill(kind))
    const kind = drawn[this.#chance.below(drawn.length)] ?? 'count'
    // Where there is something to take back.
    if (rejects && this.#chance.below(4) === 0) return { kind: 'undo' }
    // A rejection drops the cancellation with the rest of the outbox.
    if (rejects && kind === 'cancelled') return { kind: 'count' }
    return this.#make(kind, layer, rejects)
  }

  #make(kind: Kind, layer: number, rejects: boolean): Command {
    const to = this.#key()
    const below = layer + 1
    switch (kind) {
      case 'flaky':
        return { kind, fails: 1 + this.#chance.below(3) }
      case 'chunks':
        return { kind, count: 1 + this.#chance.below(5), closes: this.#chance.below(2) === 0 }
      case 'stream':
        return { kind, count: 1 + this.#chance.below(5) }
      case 'burst':
        return { kind, to, count: 2 + this.#chance.below(4) }
      case 'peek':
        return { kind, to }
      case 'sleep':
        return { kind, ms: this.#chance.below(8) === 0 ? LONG_SLEEP_MS + this.#chance.below(300) : this.#shortMs() }
      case 'external':
        return { kind, outcome: (['value', 'value', 'rivals', 'error'] as const)[this.#chance.below(4)] ?? 'value' }
      case 'call':
      case 'send':
      case 'start':
      case 'child':
        return { kind, to, body: this.#body(below, false) }
      case 'reject':
        return { kind, to, body: this.#body(below, true) }
      case 'after':
        return { kind, ms: this.#shortMs(), body: this.#small(layer) }
      case 'cancelled':
        return { kind, ms: this.#shortMs(), fired: this.#chance.below(2) === 0, body: [{ kind: 'count' }] }
      case 'parallel':
        return { kind, race: this.#chance.below(3) === 0, branches: this.#branches(layer, rejects) }
      case 'signal':
      case 'await':
        return { kind: 'count' } // only the root arranges them
      default:
        return { kind }
    }
  }

  /** Two calls of one operation of one process cannot be open at once (T5): each branch has a receiver of its own. */
  #branches(layer: number, rejects: boolean): Body {
    const kinds = layer < LAYERS - 1 ? BRANCHES : BRANCHES.filter((kind) => !DOWNWARD.some(([down]) => down === kind))
    const first = this.#key()
    return Array.from({ length: 2 + this.#chance.below(3) }, (_, i) => {
      const branch = this.#make(kinds[this.#chance.below(kinds.length)] ?? 'count', layer, rejects)
      return 'to' in branch ? { ...branch, to: (first + i) % KEYS } : branch
    })
  }

  /** Timers that arm timers without end would be no program. */
  #small(layer: number): Body {
    const rest = this.#some(layer).filter(({ kind }) => kind !== 'after')
    return [{ kind: 'count' }, ...rest]
  }

  #key(): number {
    return this.#chance.below(KEYS)
  }

  #shortMs(): number {
    return 1 + this.#chance.below(30)
  }
}
