/**
 * The oracle: what a program must leave behind, found by reading it, with no line of the runtime.
 *
 * - A turn's changes of state, sends and timers count when it ends, at a checkpoint or with a transaction, and not at
 *   all when it is rejected before (T1, T2, M3). A call releases what was sent to the same process before (M5). Steps,
 *   calls, streams and rows that were committed stay whatever becomes of the turn.
 * - Of values that chance decides it knows where they come from: wherever such a value turns up it is the same one.
 */
import { processId } from '../../shared/id.ts'
import type { Body, Command, Program } from './program.ts'

export type Chunks = { readonly of: 'handler' | 'step'; readonly count: number }

export type Expectation = {
  readonly program: Program
  /** What the program's own call is answered. */
  result: number
  /** The program's counter in each process. */
  readonly counts: Map<string, number>
  /** Values by path, and the process whose state has them. */
  readonly seen: Map<string, string>
  /** Turns that were told a value: by path, where it was heard and which path it is of. */
  readonly heard: Map<string, { process: string; source: string }>
  /** Notes of a burst, in their order. */
  readonly notes: Map<string, { process: string; count: number }>
  /** Rows of the app's table, by path. */
  readonly rows: Set<string>
  /** Streams by the path they are named after. */
  readonly streams: Map<string, Chunks & { process: string }>
  /** Steps with an effect outside, by path: the attempt that comes good, null where none does. */
  readonly effects: Map<string, number | null>
  /** External steps that must come good; the others are failed. */
  readonly external: Map<string, boolean>
  /** What rejected turns take back, in the order in which they do. */
  readonly undone: string[][]
  /** Turns, by path. */
  readonly turns: Set<string>
}

/** Attempts of a step that never comes good. */
export const HOPELESS_ATTEMPTS = 2

/** Kinds whose value later commands hand on. */
const TAGGED: ReadonlySet<string> = new Set(['step', 'task', 'flaky', 'draw', 'peek', 'write', 'chunks'])

/** The path whose value the next command knows, once this one is done. */
export function tagAfter(command: Command, path: string, tag: string | null): string | null {
  return TAGGED.has(command.kind) || (command.kind === 'parallel' && command.race) ? path : tag
}

/** Under which a compensation acts outside. */
export function undoOf(path: string): string {
  return `${path}.undo`
}

export function expectationOf(program: Program): Expectation {
  const expected: Expectation = {
    ...{ program, result: 0, counts: new Map(), seen: new Map(), heard: new Map(), notes: new Map() },
    ...{
      rows: new Set<string>(),
      streams: new Map(),
      effects: new Map(),
      external: new Map(),
      undone: [],
      turns: new Set<string>(),
    },
  }
  const place: Place = { layer: 0, process: rootOf(program.id), path: program.id }
  expected.result = new Turn(expected, place).run(program.body, { tag: null, rejects: false })
  return expected
}

export function rootOf(program: string): string {
  return processId('layer0', program)
}

export function lowerOf(layer: number, to: number): string {
  return processId(`layer${layer}`, `k${to}`)
}

type Place = { readonly layer: number; readonly process: string; readonly path: string }
/** `to`: the receiver of a send, which a call to it releases. */
type Change = { readonly to: string | null; readonly make: () => void }

class Turn {
  readonly #expected: Expectation
  readonly #place: Place
  #draft: Change[] = []
  readonly #undo: string[] = []
  #tag: string | null = null

  constructor(expected: Expectation, place: Place) {
    this.#expected = expected
    this.#place = place
  }

  /** Returns what the turn answers. */
  run(body: Body, { tag, rejects }: { tag: string | null; rejects: boolean }): number {
    const { process, path } = this.#place
    this.#expected.turns.add(path)
    this.#tag = tag
    if (tag !== null) this.#change(() => this.#expected.heard.set(path, { process, source: tag }))
    let done = 0
    body.forEach((command, i) => {
      const at = `${path}.${i}`
      done += this.#perform(command, at)
      this.#tag = tagAfter(command, at, this.#tag)
    })
    if (rejects) this.#takeBack()
    this.#commit()
    return done
  }

  /** In reverse, each once; a turn that succeeds takes nothing back (Y4). */
  #takeBack(): void {
    this.#draft = []
    const undone = this.#undo.toReversed()
    for (const path of undone) this.#expected.effects.set(path, 1)
    if (undone.length > 0) this.#expected.undone.push(undone)
  }

  #change(make: () => void, to: string | null = null): void {
    this.#draft.push({ to, make })
  }

  #commit(): void {
    const draft = this.#draft
    this.#draft = []
    for (const { make } of draft) make()
  }

  #release(process: string): void {
    const released = this.#draft.filter(({ to }) => to === process)
    this.#draft = this.#draft.filter(({ to }) => to !== process)
    for (const { make } of released) make()
  }

  #add(amount: number): void {
    const { counts, program } = this.#expected
    this.#change(() => {
      const key = `${this.#place.process} ${program.id}`
      counts.set(key, (counts.get(key) ?? 0) + amount)
    })
  }

  #see(path: string): void {
    this.#change(() => this.#expected.seen.set(path, this.#place.process))
  }

  /** A turn of its own, on another process or later on this one. */
  #turn(body: Body, path: string, options: { process: string; layer: number; rejects?: boolean }): number {
    const { process, layer, rejects = false } = options
    return new Turn(this.#expected, { process, layer, path }).run(body, { tag: this.#tag, rejects })
  }

  /** Counted like the commands of the turn itself. */
  #perform(command: Command, path: string): number {
    const { layer, process } = this.#place
    const below = layer + 1
    switch (command.kind) {
      case 'count':
        this.#add(1)
        return 1
      case 'step':
      case 'task':
      case 'flaky':
      case 'hopeless':
      case 'chunks':
      case 'stream':
      case 'external':
        return this.#outside(command, path)
      case 'draw':
      case 'peek':
        this.#see(path)
        return 1
      case 'write':
        this.#commit()
        this.#expected.rows.add(path)
        this.#see(path)
        return 1
      case 'checkpoint':
        this.#commit()
        return 1
      case 'undo':
        this.#undo.push(undoOf(path))
        return 1
      case 'crash':
      case 'sleep':
        return 1
      case 'call':
      case 'reject':
      case 'start':
      case 'child':
      case 'burst':
        return this.#ask(command, path)
      case 'send': {
        const target = lowerOf(below, command.to)
        const tag = this.#tag
        this.#change(() => {
          new Turn(this.#expected, { process: target, layer: below, path }).run(command.body, { tag, rejects: false })
        }, target)
        return 1
      }
      case 'after': {
        const tag = this.#tag
        this.#change(() => {
          new Turn(this.#expected, { process, layer, path }).run(command.body, { tag, rejects: false })
        })
        return 1
      }
      case 'cancelled':
        if (command.fired) this.#commit()
        return 1
      case 'parallel': {
        const done = command.branches.reduce((sum, branch, i) => sum + this.#perform(branch, `${path}.${i}`), 0)
        if (command.race) this.#see(path)
        return done
      }
      case 'signal':
        this.#signal()
        return 1
      case 'await':
        return 1
      default:
        return command satisfies never
    }
  }

  /** The root counts each once, in its turn or in its handler. */
  #signal(): void {
    const { counts, program } = this.#expected
    this.#change(() => {
      const key = `${rootOf(program.id)} ${program.id}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }, rootOf(program.id))
  }

  #outside(command: Command, path: string): number {
    const { process } = this.#place
    const { effects, external, streams } = this.#expected
    switch (command.kind) {
      case 'hopeless':
        effects.set(path, null)
        this.#add(1)
        return 1
      case 'stream':
        streams.set(path, { process, of: 'handler', count: command.count })
        return 1
      case 'external':
        external.set(path, command.outcome !== 'error')
        if (command.outcome === 'error') this.#add(1)
        else this.#see(path)
        return 1
      case 'chunks':
        streams.set(path, { process, of: 'step', count: command.count })
        effects.set(path, 1)
        this.#see(path)
        return 1
      default:
        effects.set(path, command.kind === 'flaky' ? command.fails + 1 : 1)
        this.#see(path)
        return 1
    }
  }

  #ask(command: Extract<Command, { kind: 'call' | 'reject' | 'start' | 'child' | 'burst' }>, path: string): number {
    const layer = this.#place.layer + 1
    const process = lowerOf(layer, command.to)
    if (command.kind !== 'start' && command.kind !== 'child') this.#release(process)
    switch (command.kind) {
      case 'burst':
        this.#expected.notes.set(path, { process, count: command.count })
        this.#add(command.count)
        return 1
      case 'child':
        this.#turn(command.body, path, { process, layer })
        return 1
      case 'reject':
        this.#turn(command.body, path, { process, layer, rejects: true })
        this.#add(1)
        return 1
      default: {
        const result = this.#turn(command.body, path, { process, layer })
        this.#add(result)
        return 1 + result
      }
    }
  }
}
