/**
 * Functions that threads of the pool run in tests: quick ones, ones that never end, and ones that go wrong.
 *
 * - A test learns that one has begun, and tells it to go on, by a gate (`compute-gate.ts`).
 */
import { threadId } from 'node:worker_threads'
import { begin, waitFor } from './compute-gate.ts'

export type Score = { readonly word: string; readonly points: number }

let calls = 0

export function add(a: number, b: number): number {
  return a + b
}

/** Longest word first. Sorts its argument in place: it is the function's own. */
export function score(words: string[], bonus?: number): Score[] {
  words.sort((a, b) => b.length - a.length)
  return words.map((word) => ({ word, points: word.length + (bonus ?? 0) }))
}

export async function echo(value: Map<string, Date>): Promise<Map<string, Date>> {
  return value
}

/** Where and how often this module ran in its thread. */
export function place(): { thread: number; calls: number } {
  calls += 1
  return { thread: threadId, calls }
}

/** Says that it began, then computes until the gate opens. */
export function hold(gate: string, name: string): string {
  begin(gate, name)
  waitFor(gate)
  return name
}

export function spin(gate: string, name: string): void {
  begin(gate, name)
  for (;;) {}
}

export function nothing(): void {}

// Not for threads: the compiler refuses them.

export const VERSION = '1'

export class Model {
  readonly weight = 1
  run(x: number): number {
    return x * this.weight
  }
}

export function makeModel(): Model {
  return new Model()
}

export function callback(fn: () => void): void {
  fn()
}

// Gone wrong

export function fail(): never {
  const error = Object.assign(new RangeError('the matrix is singular'), { code: 'E_SINGULAR', retryable: false })
  error.cause = new Error('row 3 is row 1')
  throw error
}

export function lie(): number {
  return { model: makeModel(), at: [() => 1] } as never // what the types say is not what comes
}

export function exit(): void {
  process.exit(3)
}

export function forget(): string {
  void Promise.reject(new Error('nobody looks'))
  return 'done'
}

/** Throws, or exits, in a timer of its own, when the gate is open and it is over. */
export function leave(gate: string, how: 'throw' | 'exit'): string {
  const timer = setInterval(() => {
    if (!waitFor(gate, 0)) return
    clearInterval(timer)
    if (how === 'exit') process.exit(5)
    throw new Error('left behind')
  }, 1)
  return 'left'
}

export function grow(): number {
  const kept: number[][] = []
  for (;;) kept.push(new Array<number>(10_000).fill(kept.length))
}

/** Says that it began, and waits without blocking its thread until the gate is open and 20 ms have passed. */
export async function pause(gate: string, name: string): Promise<string> {
  begin(gate, name)
  while (!waitFor(gate, 0)) await new Promise((resolve) => setTimeout(resolve, 1))
  await new Promise((resolve) => setTimeout(resolve, 20))
  return name
}

export function large(characters: number): string {
  return 'x'.repeat(characters)
}
