/**
 * A kernel for tests: virtual time, seeded randomness, recorded events, and agents written as plain handlers.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { SpawnSpec } from '../../server/kernel/behaviour.ts'
import type { ChildInput } from '../../server/kernel/child.ts'
import type { DownSignal, ExitSignal } from '../../server/kernel/envelope.ts'
import { type AgentCode, EphemeralBehaviour } from '../../server/kernel/ephemeral.ts'
import type { ExitReason } from '../../server/kernel/exit.ts'
import { Kernel } from '../../server/kernel/kernel.ts'
import { type Pool, type PoolInput, poolOf, poolProcess } from '../../server/kernel/pool.ts'
import type { Behaviour, Process, ProcessSpec } from '../../server/kernel/process.ts'
import { type Supervisor, supervisorOf } from '../../server/kernel/supervisor.ts'
import { supervisorProcess } from '../../server/kernel/supervisor-process.ts'
import type { SupervisorSpec } from '../../server/kernel/supervisor-spec.ts'
import type { TreeChange } from '../../server/kernel/tree-change.ts'
import { RuntimeError } from '../../shared/error.ts'
import type { EventKind, EventOf, RuntimeEvent } from '../../shared/event.ts'
import { seededRandom, VirtualClock } from './virtual-clock.ts'

export type Ctx = { process: Process; kernel: Kernel; state: Record<string, unknown>; log: string[] }
// Tests write handlers for whatever they send; the value is theirs to know.
type Handler = (ctx: Ctx, args: never) => unknown

export type AgentInput = {
  on?: Record<string, Handler>
  queries?: Record<string, (state: Record<string, unknown>) => unknown>
  init?: () => Record<string, unknown>
  activated?: (ctx: Ctx) => unknown
  terminate?: (ctx: Ctx, reason: ExitReason) => unknown
  onExit?: (ctx: Ctx, signal: ExitSignal) => unknown
  onDown?: (ctx: Ctx, signal: DownSignal) => unknown
}

export class Bench {
  readonly clock = new VirtualClock()
  readonly events: RuntimeEvent[] = []
  readonly missing: string[] = []
  /** Supervisors whose children or history changed. */
  readonly changed: (TreeChange & { supervisor: string })[] = []
  /** Contexts that were entered: `id op`, or `id -` where turns share one. */
  readonly contexts: string[] = []
  tracing = false
  /** Whatever handlers want to tell the test, in order. */
  readonly log: string[] = []
  readonly kernel: Kernel
  readonly current = new AsyncLocalStorage<Process>()
  #unwatched = new Set<EventKind>()

  constructor() {
    this.kernel = new Kernel({
      clock: this.clock,
      random: seededRandom(7),
      emit: (event) => void this.events.push(event),
      watching: (kind) => !this.#unwatched.has(kind),
      around: (process, envelope, fn) => {
        this.contexts.push(`${process.id} ${envelope?.op ?? '-'}`)
        return this.current.run(process, fn, process, envelope)
      },
      missing: (id, envelope) => {
        this.missing.push(id)
        envelope.reply?.reject(new RuntimeError('PROCESS_NOT_FOUND', `There is no ${id}.`))
      },
      tracing: () => this.tracing,
      treeChanged: (supervisor, change) => void this.changed.push({ supervisor: supervisor.id, ...change }),
      treeHistory: () => null,
    })
  }

  unwatch(...kinds: EventKind[]): void {
    this.#unwatched = new Set(kinds)
  }

  of<K extends EventKind>(kind: K): EventOf<K>[] {
    return this.events.filter((event): event is EventOf<K> => event.kind === kind)
  }

  behaviour(input: AgentInput): EphemeralBehaviour {
    const code: AgentCode = {
      name: 'a',
      version: 1,
      durable: false,
      mailboxLimit: 10_000,
      handlers: new Map(Object.entries(input.on ?? {})) as unknown as AgentCode['handlers'],
      queries: new Map(Object.entries(input.queries ?? {})) as unknown as AgentCode['queries'],
      init: input.init ?? (() => ({ n: 0 })),
      activated: (input.activated ?? null) as AgentCode['activated'],
      terminate: (input.terminate ?? null) as AgentCode['terminate'],
      onExit: (input.onExit ?? null) as AgentCode['onExit'],
      onDown: (input.onDown ?? null) as AgentCode['onDown'],
    }
    return new EphemeralBehaviour(code, (process): Ctx => {
      return { process, kernel: this.kernel, state: process.state as Record<string, unknown>, log: this.log }
    })
  }

  spec(id: string, input: AgentInput | Behaviour = {}): ProcessSpec {
    const [agent = id, key = ''] = id.split('/')
    const behaviour = 'turn' in input ? input : this.behaviour(input as AgentInput)
    return { id, key, agent, kind: 'agent', behaviour }
  }

  spawn(id: string, input: AgentInput | Behaviour = {}, more: Partial<SpawnSpec> = {}): Process {
    return this.kernel.spawn({ ...this.spec(id, input), parent: null, ...more })
  }

  async supervisor(children: ChildInput[], more: Partial<SupervisorSpec> = {}): Promise<Supervisor> {
    const spec = supervisorProcess(this.kernel, { id: 'supervisor/top', strategy: 'one_for_one', ...more, children })
    const process = this.kernel.spawn({ ...spec, parent: null })
    await this.kernel.started(process)
    return found(supervisorOf(process))
  }

  pool(input: Partial<PoolInput> & { behaviour: Behaviour }): Pool {
    const spec = poolProcess(this.kernel, { id: 'pool/w', agent: 'w', ...input })
    return found(poolOf(this.kernel.spawn({ ...spec, parent: null })))
  }

  /** A child that logs its starts and orderly ends, and crashes on `crash`. */
  child(id: string, more: Partial<ChildInput> = {}, input: AgentInput = {}): ChildInput {
    const process = this.spec(`c/${id}`, {
      activated: () => void this.log.push(`+${id}`),
      terminate: () => void this.log.push(`-${id}`),
      ...input,
      on: {
        crash: () => {
          throw new Error(`crash of ${id}`)
        },
        exit: (ctx, reason: ExitReason) => ctx.kernel.exitSelf(ctx.process, reason),
        ping: () => 'pong',
        ...input.on,
      },
    })
    return { id, process, ...more }
  }

  get(id: string): Process {
    return found(this.kernel.find(id) ?? null)
  }

  send(id: string, op: string, args: unknown = null): void {
    this.kernel.send(id, op, args)
  }

  settle(): Promise<void> {
    return this.clock.settle()
  }
}

export function found<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('The test expected a value here.')
  return value
}

/** The code of the error a promise is rejected with; `resolved` when it is not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'resolved'
  } catch (error) {
    return error instanceof RuntimeError ? error.code : String(error)
  }
}

export function thrownCode(fn: () => unknown): string {
  try {
    fn()
    return 'returned'
  } catch (error) {
    return error instanceof RuntimeError ? error.code : String(error)
  }
}
