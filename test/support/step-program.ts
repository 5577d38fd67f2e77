/**
 * Random programs of parallel steps, and the trace of each run: what user code saw, in its order.
 *
 * - The same seed is the same program; how long its steps take, and so which finishes first, differs from run to run.
 * - `>` in a trace is a result that was handed over. What user code did until the next one follows from it alone, so
 *   the trace up to the n-th result is what every replay of n stored results must repeat.
 */
import type { Context } from '../../server/definition/context.ts'
import type { Clock } from '../../server/kernel/clock-port.ts'
import { seededRandom } from './virtual-clock.ts'

type Leaf = { kind: 'leaf'; key: string; hops: number; fails: boolean; mayHang: boolean }
type Node = Leaf | { kind: 'seq' | 'all' | 'race' | 'any' | 'allSettled'; hops: number; children: Node[] }

const PARALLEL = ['all', 'race', 'any', 'allSettled'] as const
/** Ms of virtual time; some steps end in the same tick, some long after the turn. */
const DURATIONS = [0, 0, 0, 1, 1, 5, 20, 100]
const DEPTH_MAX = 3
const CHILDREN_MAX = 4
const HOPS_MAX = 6

export type Trace = string[]

export class StepProgram {
  readonly #root: Node
  readonly #random: () => number
  readonly #clock: Clock
  #keys = 0
  /** One per run of the handler, the last one being written. */
  readonly traces: Trace[] = []
  /** Keys of functions that were run, in order. */
  readonly ran: string[] = []

  constructor(seed: number, clock: Clock) {
    const random = seededRandom(Math.imul(seed, 0x85ebca6b))
    this.#random = () => random.next()
    this.#clock = clock
    this.#root = this.#node(0, false)
  }

  async run(ctx: Context<{ trace: Trace }>): Promise<void> {
    const trace: Trace = []
    this.traces.push(trace)
    const out = await this.#eval(ctx, this.#root, trace)
    trace.push(`end ${out} ${ctx.random()} ${ctx.now()}`)
    ctx.state.trace = trace
  }

  #pick(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #node(depth: number, mayHang: boolean): Node {
    const hops = this.#pick(HOPS_MAX)
    if (depth === DEPTH_MAX || (depth > 0 && this.#random() < 0.4)) {
      return { kind: 'leaf', key: `s${++this.#keys}`, hops, fails: this.#random() < 0.2, mayHang }
    }
    const kind = this.#random() < 0.3 ? 'seq' : (PARALLEL[this.#pick(PARALLEL.length)] ?? 'all')
    const lossy = kind === 'race' || kind === 'any'
    const children = Array.from({ length: 2 + this.#pick(CHILDREN_MAX - 1) }, (_, i) =>
      this.#node(depth + 1, mayHang || (lossy && i > 0)),
    )
    return { kind, hops, children }
  }

  async #eval(ctx: Context<{ trace: Trace }>, node: Node, trace: Trace): Promise<string> {
    if (node.kind === 'leaf') return this.#leaf(ctx, node, trace)
    let out: string
    if (node.kind === 'seq') {
      out = ''
      for (const child of node.children) out += await this.#eval(ctx, child, trace).catch(() => 'x')
    } else {
      const all = node.children.map((child) => this.#eval(ctx, child, trace))
      out = await combine(node.kind, all).catch(() => 'x')
    }
    await hop(node.hops)
    trace.push(`${node.kind} ${out} ${ctx.random()}`)
    return `${node.kind}(${out})`
  }

  async #leaf(ctx: Context<{ trace: Trace }>, leaf: Leaf, trace: Trace): Promise<string> {
    const { key } = leaf
    try {
      await ctx.step('leaf', () => this.#work(leaf), { key, retry: { max: 1 } })
      trace.push(`> ${key} ${ctx.now()}`)
    } catch (error) {
      if ((error as { code: string }).code !== 'STEP_FAILED') throw error
      trace.push(`> ${key} failed ${ctx.now()}`)
      await hop(leaf.hops)
      throw error
    }
    await hop(leaf.hops)
    trace.push(`${key} ${ctx.random()} ${ctx.uuid()}`)
    return key
  }

  #work({ key, fails, mayHang }: Leaf): unknown {
    this.ran.push(key)
    if (mayHang && this.#random() < 0.3) return new Promise(() => {})
    const ms = DURATIONS[this.#pick(DURATIONS.length)] ?? 0
    const hops = this.#pick(HOPS_MAX)
    const end = (): string => {
      if (fails) throw new Error(`${key} fails`)
      return key
    }
    if (ms > 0) return new Promise<void>((resolve) => void this.#clock.after(ms, resolve)).then(end)
    return hops === 0 ? end() : hop(hops).then(end)
  }
}

function combine(kind: (typeof PARALLEL)[number], all: Promise<string>[]): Promise<string> {
  if (kind === 'race') return Promise.race(all)
  if (kind === 'any') return Promise.any(all)
  if (kind === 'all') return Promise.all(all).then((keys) => keys.join())
  return Promise.allSettled(all).then((ends) =>
    ends.map((end) => (end.status === 'fulfilled' ? end.value : 'x')).join(),
  )
}

async function hop(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await null
}

/** The trace up to the `n`-th result, with all that follows from it. */
export function traceOf(trace: Trace, n: number): Trace {
  let results = 0
  const end = trace.findIndex((line) => line.startsWith('> ') && ++results > n)
  return end < 0 ? [...trace] : trace.slice(0, end)
}
