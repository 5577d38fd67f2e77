/** A model for tests: says in which company each input was answered, and goes wrong on request. */
import { begin, waitFor } from './compute-gate.ts'

export type Input = {
  readonly text: string
  readonly fault?: 'throw' | 'exit' | 'grow' | 'spin'
  readonly gate?: string
}
export type Output = { readonly length: number; readonly batch: string; readonly loads: number }

let loads = 0

/** What it loads is no plain value, and is nobody's but the module's. */
export async function load(): Promise<() => number> {
  loads += 1
  return () => loads
}

export function run(inputs: readonly Input[]): Output[] {
  const batch = inputs.map(({ text }) => text).join('+')
  for (const { text, fault, gate } of inputs) {
    if (gate !== undefined) begin(gate, batch)
    if (fault === 'throw') throw new RangeError(`${text} is out of range`)
    if (fault === 'exit') process.exit(4)
    if (fault === 'spin') for (;;) {}
    if (fault === 'grow') for (const kept: number[][] = []; ; ) kept.push(new Array<number>(10_000).fill(kept.length))
    if (gate !== undefined) waitFor(gate)
  }
  return inputs.map(({ text }) => ({ length: text.length, batch, loads }))
}
