/**
 * Bench `call`: round trips per second between callers and ephemeral agents on one thread.
 *
 * Measures: the whole path with observability on (context of the process entered, counters kept, event bus attached):
 * call, copy of a five-field object, mailbox, handler that changes its state, copy of the reply, promise. A hundred
 * callers, each waiting for its answer before the next call: into one agent (`callsPerSecond`), and spread over a
 * hundred agents, where a slice of an agent holds one message and pays for all that slices amortise.
 * Leaves out: durable agents, threads, tracing.
 * Checked: the agents counted every call exactly once.
 */
import { performance } from 'node:perf_hooks'
import { realClock } from '../server/clock.ts'
import { type AgentCode, EphemeralBehaviour } from '../server/kernel/ephemeral.ts'
import { Kernel } from '../server/kernel/kernel.ts'
import type { Process } from '../server/kernel/process.ts'
import { Bus } from '../server/observe/bus.ts'
import { Scope } from '../server/observe/scope.ts'
import { realRandom } from '../server/random.ts'

const CALLERS = 100
const CALLS = 1_000_000
/** The first rounds are the compiler's; the median of the rest is the figure. */
const ROUNDS = 7
const WARM_ROUNDS = 2

type State = { n: number; last: string }
type Args = { by: number; who: string; urgent: boolean; note: null; weight: number }

export type Metrics = { callsPerSecond: number; callsPerSecondSpread: number }

export async function run(): Promise<{ metrics: Metrics }> {
  return { metrics: { callsPerSecond: await measure(1), callsPerSecondSpread: await measure(CALLERS) } }
}

async function measure(targets: number): Promise<number> {
  const kernel = benchKernel()
  const behaviour = new EphemeralBehaviour(counter(), (process) => process)
  const agents = Array.from({ length: targets }, (_, i) => {
    return kernel.spawn({ id: `counter/${i}`, key: `${i}`, agent: 'counter', kind: 'agent', behaviour, parent: null })
  })
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now()
    await Promise.all(Array.from({ length: CALLERS }, (_, i) => caller(kernel, agents[i % targets] as Process)))
    if (round >= WARM_ROUNDS) rates.push(CALLS / ((performance.now() - start) / 1_000))
  }
  const counted = agents.reduce((sum, agent) => sum + (agent.state as State).n, 0)
  if (counted !== ROUNDS * CALLS) throw new Error(`The agents counted ${counted} calls of ${ROUNDS * CALLS}.`)
  kernel.close()
  return Math.round(rates.toSorted((a, b) => a - b)[rates.length >> 1] ?? 0)
}

async function caller(kernel: Kernel, agent: Process): Promise<void> {
  for (let i = 0; i < CALLS / CALLERS; i++) {
    await kernel.call(null, agent.id, 'add', { by: 1, who: 'bench', urgent: false, note: null, weight: i })
  }
}

function counter(): AgentCode {
  const add = (ctx: unknown, message: unknown): unknown => {
    const { state } = ctx as { state: State } // made by `init` below
    const { by, who } = message as Args
    state.n += by
    state.last = who
    return { n: state.n, last: who, ok: true }
  }
  return {
    name: 'counter',
    version: 1,
    durable: false,
    mailboxLimit: 10_000,
    handlers: new Map([['add', add]]),
    queries: new Map(),
    init: (): State => ({ n: 0, last: '' }),
    activated: null,
    terminate: null,
    onExit: null,
    onDown: null,
  }
}

/** A kernel as the runtime wires it, without store and threads. */
export function benchKernel(): Kernel {
  const clock = realClock()
  const bus = new Bus(() => clock.now())
  const scope = new Scope<Process>()
  return new Kernel({
    clock,
    random: realRandom(),
    emit: bus.emit,
    watching: bus.watching,
    around: (process, envelope, fn) => scope.enter(process, envelope, fn as (p: Process, e: unknown) => never),
    tracing: () => false,
    missing: (id) => {
      throw new Error(`There is no ${id}.`)
    },
    treeChanged: () => {},
    treeHistory: () => null,
  })
}
