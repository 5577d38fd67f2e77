/**
 * The agents that carry programs out: three layers of one interpreter. What it does is what a user's agent may do; it
 * knows nothing of the oracle.
 *
 * - The state counts by program, keeps values that chance decided under the path that drew them, and what it was told
 *   of the values of others: two that should be one show any result that a replay was not given again.
 * - Time limits are far above what a round takes: no outcome may depend on how fast the machine is.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import {
  type AgentDefinition,
  agent,
  type Context,
  pool,
  Reject,
  RuntimeError,
  type StepInfo,
  supervisor,
} from 'vivarium'
import { HOPELESS_ATTEMPTS, tagAfter, undoOf } from './expectation.ts'
import type { LineFile } from './line.ts'
import { type Body, type Command, LAYERS } from './program.ts'

export type RunMessage = { program: string; path: string; tag: string | null; rejects: boolean; body: Body }
type Note = { path: string; i: number }

export type InterpreterState = {
  counts: Record<string, number>
  seen: Record<string, string>
  heard: Record<string, string>
  notes: Record<string, number[]>
}

type Handlers = {
  readonly run: (ctx: Context<InterpreterState>, message: RunMessage) => Promise<number>
  readonly note: (ctx: Context<InterpreterState>, message: Note) => number
  readonly signal: (ctx: Context<InterpreterState>, message: { program: string; name: string }) => void
}
type Queries = { readonly peek: (state: InterpreterState, program: string) => number }
export type Interpreter = AgentDefinition<InterpreterState, Handlers, Queries>

/** The world outside of the runtime, as its process has it. */
export type Outside = {
  readonly lines: LineFile
  /** Table of the app. */
  readonly table: string
  /** Somebody will complete the step. */
  handed(token: { path: string; token: string; outcome: 'value' | 'rivals' | 'error' }): void
}

/** Ms without a message after which a process leaves memory, and a turn that waits is parked. */
const PASSIVATE_MS = 200
/** Ms of a call, step or start that waits for others in a queue. */
const PATIENCE_MS = 1_800_000
/** Ms of a step's work. */
const WORK_MS = 4
/** Ms before a step is tried again. */
const RETRY_MS = 5

/** A value that nobody draws again. */
export function drawn(path: string): string {
  return `${path}#${randomBytes(4).toString('hex')}`
}

/** The tree of a child. */
export function interpreters(outside: Outside): {
  root: ReturnType<typeof supervisor>
  layers: readonly Interpreter[]
} {
  const layers: Interpreter[] = []
  for (let layer = 0; layer < LAYERS; layer++) layers.push(interpreter({ outside, layers, layer }))
  return {
    root: supervisor('programs', { strategy: 'one_for_one', children: layers.map((each) => pool(each)) }),
    layers,
  }
}

type Layer = { readonly outside: Outside; readonly layers: readonly Interpreter[]; readonly layer: number }

function interpreter(layer: Layer): Interpreter {
  return agent(`layer${layer.layer}`, {
    state: (): InterpreterState => ({ counts: {}, seen: {}, heard: {}, notes: {} }),
    passivateAfterMs: PASSIVATE_MS,
    on: {
      run: (ctx: Context<InterpreterState>, message: RunMessage) => new Frame(layer, ctx, message).run(),
      note(ctx: Context<InterpreterState>, { path, i }: Note) {
        const notes = [...(ctx.state.notes[path] ?? []), i]
        ctx.state.notes[path] = notes
        return notes.length
      },
      signal(ctx: Context<InterpreterState>, { program }: { program: string; name: string }) {
        add(ctx, program, 1)
      },
    },
    queries: { peek: (state: InterpreterState, program: string) => state.counts[program] ?? 0 },
  })
}

function add({ state }: Context<InterpreterState>, program: string, amount: number): void {
  state.counts[program] = (state.counts[program] ?? 0) + amount
}

/** One turn of a program. */
class Frame {
  readonly #layer: Layer
  readonly #ctx: Context<InterpreterState>
  readonly #message: RunMessage
  #tag: string | null

  constructor(layer: Layer, ctx: Context<InterpreterState>, message: RunMessage) {
    this.#layer = layer
    this.#ctx = ctx
    this.#message = message
    this.#tag = message.tag
  }

  async run(): Promise<number> {
    const { path, body, rejects, tag } = this.#message
    this.#layer.outside.lines.write({ e: 'begin', path, attempt: this.#ctx.message.attempt })
    if (tag !== null) this.#ctx.state.heard[path] = tag
    let done = 0
    let source: string | null = null
    for (const [i, command] of body.entries()) {
      const at = `${path}.${i}`
      done += await this.#perform(command, at)
      const next = tagAfter(command, at, source)
      if (next !== source) this.#tag = this.#ctx.state.seen[at] ?? null
      source = next
    }
    if (rejects) throw new Reject(rejection(path))
    return done
  }

  #add(amount: number): void {
    add(this.#ctx, this.#message.program, amount)
  }

  #see(path: string, value: string): void {
    this.#ctx.state.seen[path] = value
  }

  #lower(to: number): { agent: Interpreter; key: string } {
    const below = this.#layer.layers[this.#layer.layer + 1]
    if (below === undefined) throw new Error('There is no lower layer.')
    return { agent: below, key: `k${to}` }
  }

  #messageFor(path: string, body: Body, rejects = false): RunMessage {
    return { program: this.#message.program, path, tag: this.#tag, rejects, body }
  }

  async #perform(command: Command, path: string): Promise<number> {
    const ctx = this.#ctx
    switch (command.kind) {
      case 'count':
        this.#add(1)
        return 1
      case 'draw':
        this.#see(path, `${path}#${ctx.uuid()}`)
        return 1
      case 'sleep':
        await ctx.sleep(command.ms)
        return 1
      case 'checkpoint':
        await ctx.checkpoint()
        return 1
      case 'undo':
        ctx.onRollback(undoOf(path), (info) => this.#act(info, undoOf(path)))
        return 1
      case 'crash':
        if (ctx.message.attempt === 1) throw new Error('The program fails once, on purpose.')
        return 1
      case 'write':
        await this.#write(path)
        return 1
      case 'signal':
      case 'await':
        return this.#signal(command)
      case 'after':
        ctx.after(command.ms, 'run', this.#messageFor(path, command.body), { name: path })
        return 1
      case 'cancelled':
        await this.#cancel(command, path)
        return 1
      case 'parallel':
        return this.#parallel(command, path)
      case 'call':
      case 'reject':
      case 'send':
      case 'start':
      case 'child':
      case 'burst':
      case 'peek':
        return this.#others(command, path)
      default:
        return this.#step(command, path)
    }
  }

  async #write(path: string): Promise<void> {
    const value = await this.#ctx.transaction(async (tx) => {
      const value = drawn(path)
      // Without a key on purpose: a row that is written twice is there twice.
      await tx.execute(sql`insert into ${sql.identifier(this.#layer.outside.table)} values (${path}, ${value})`)
      return value
    })
    this.#see(path, value)
  }

  async #signal(command: Extract<Command, { kind: 'signal' | 'await' }>): Promise<number> {
    const ctx = this.#ctx
    const { program } = this.#message
    const { name } = command
    if (command.kind === 'signal') {
      const root = this.#layer.layers[0]
      if (root === undefined) throw new Error('There is no root layer.')
      ctx.send(ctx.ref(root, program).signal({ program, name }))
      return 1
    }
    const isIt = (op: string, message: unknown): boolean =>
      op === 'signal' && typeof message === 'object' && message !== null && Reflect.get(message, 'name') === name
    const { timeoutMs } = command
    const got = await (timeoutMs === null ? ctx.receive(isIt) : ctx.receive(isIt, { timeoutMs }))
    if (got !== null) this.#add(1)
    return 1
  }

  async #cancel({ ms, fired, body }: Extract<Command, { kind: 'cancelled' }>, path: string): Promise<void> {
    const timer = this.#ctx.after(ms, 'run', this.#messageFor(path, body), { name: path })
    if (fired) {
      await this.#ctx.checkpoint()
      await this.#ctx.sleep(ms * 2)
    }
    this.#ctx.cancel(timer)
  }

  async #parallel({ race, branches }: Extract<Command, { kind: 'parallel' }>, path: string): Promise<number> {
    const running = branches.map((branch, i) => this.#perform(branch, `${path}.${i}`))
    const first = Promise.race(running.map((branch, i) => branch.then(() => i)))
    const [winner, all] = await Promise.all([first, Promise.all(running)])
    if (race) this.#see(path, `${path}#${winner}`)
    return all.reduce((sum, done) => sum + done, 0)
  }

  async #others(
    command: Extract<Command, { kind: 'call' | 'reject' | 'send' | 'start' | 'child' | 'burst' | 'peek' }>,
    path: string,
  ): Promise<number> {
    const ctx = this.#ctx
    const { agent, key } = this.#lower(command.to)
    const ref = ctx.ref(agent, key)
    const patient = { timeoutMs: PATIENCE_MS }
    switch (command.kind) {
      case 'peek':
        // Who was never told anything has no state to read; that answer is recorded like any other.
        this.#see(path, `${path}#${await ctx.call(ref.peek(this.#message.program), patient).catch(absent)}`)
        return 1
      case 'send':
        ctx.send(ref.run(this.#messageFor(path, command.body)))
        return 1
      case 'burst':
        for (let i = 0; i < command.count - 1; i++) ctx.send(ref.note({ path, i }))
        this.#add(await ctx.call(ref.note({ path, i: command.count - 1 }), patient))
        return 1
      case 'call': {
        const result = await ctx.call(ref.run(this.#messageFor(path, command.body)), patient)
        this.#add(result)
        return 1 + result
      }
      case 'reject':
        try {
          await ctx.call(ref.run(this.#messageFor(path, command.body, true)), patient)
        } catch (error) {
          if (!isError(error, 'CALL_REJECTED') || error.message !== rejection(path)) throw error
          this.#add(1)
        }
        return 1
      case 'child': {
        const options = { idempotencyKey: path, parentClose: 'wait' } as const
        await ctx.start(agent, key, 'run', this.#messageFor(path, command.body), options)
        return 1
      }
      case 'start': {
        const message = this.#messageFor(path, command.body)
        await ctx.start(agent, key, 'run', message, { idempotencyKey: path })
        const again = await ctx.start(agent, key, 'run', message, { idempotencyKey: path })
        const result = Number(await again.result())
        this.#add(result)
        return 1 + result
      }
      default:
        return command satisfies never
    }
  }

  async #step(
    command: Extract<Command, { kind: 'step' | 'task' | 'flaky' | 'hopeless' | 'chunks' | 'stream' | 'external' }>,
    path: string,
  ): Promise<number> {
    const ctx = this.#ctx
    switch (command.kind) {
      case 'step':
        this.#see(path, await ctx.step('work', (info) => this.#act(info, path), { key: path }))
        return 1
      case 'task':
        this.#see(path, await ctx.task(`work ${path}`, (info) => this.#act(info, path)).result())
        return 1
      case 'flaky': {
        const { fails } = command
        const retry = { max: fails + 1, initialMs: RETRY_MS }
        const fn = async (info: StepInfo): Promise<string> => {
          const value = await this.#act(info, path)
          if (info.attempt <= fails) throw new Error(`Attempt ${info.attempt} fails on purpose.`)
          return value
        }
        this.#see(path, await ctx.step('work', fn, { key: path, retry }))
        return 1
      }
      case 'hopeless': {
        const fn = async (info: StepInfo): Promise<never> => {
          throw new Error(`${await this.#act(info, path)} fails on purpose.`)
        }
        const retry = { max: HOPELESS_ATTEMPTS, initialMs: RETRY_MS }
        await caught(ctx.step('work', fn, { key: path, retry }), 'STEP_FAILED')
        this.#add(1)
        return 1
      }
      case 'chunks': {
        const fn = async (info: StepInfo): Promise<string> => {
          const value = await this.#act(info, path)
          const out = info.stream(path)
          for (let i = 0; i < command.count; i++) await out.write(`${value}:${i}`)
          if (command.closes) await out.close()
          return value
        }
        this.#see(path, await ctx.step('work', fn, { key: path }))
        if (!command.closes) await ctx.stream(path).close()
        return 1
      }
      case 'stream': {
        const out = ctx.stream(path)
        for (let i = 0; i < command.count; i++) await out.write(`${path}:${i}`)
        await out.close()
        return 1
      }
      case 'external':
        return this.#external(command.outcome, path)
      default:
        return command satisfies never
    }
  }

  async #external(outcome: 'value' | 'rivals' | 'error', path: string): Promise<number> {
    const { outside } = this.#layer
    const step = this.#ctx.step<string>(
      'ask',
      ({ token }) => {
        outside.lines.write({ e: 'token', path, token, outcome })
        outside.handed({ path, token, outcome })
      },
      { key: path, external: true },
    )
    if (outcome === 'error') {
      await caught(step, 'STEP_FAILED')
      this.#add(1)
    } else this.#see(path, await step)
    return 1
  }

  /** The effect outside: drawn anew each time the function runs. */
  async #act({ attempt, idempotencyKey }: StepInfo, path: string): Promise<string> {
    const value = drawn(path)
    this.#layer.outside.lines.write({ e: 'effect', path, value, attempt, key: idempotencyKey })
    await sleep(WORK_MS)
    return value
  }
}

function rejection(path: string): string {
  return `${path} is rejected on purpose.`
}

async function caught(work: Promise<unknown>, code: string): Promise<void> {
  const outcome = await work.then(
    () => 'came good',
    (error: unknown) => (isError(error, code) ? null : error),
  )
  if (outcome !== null) throw outcome
}

function absent(error: unknown): string {
  if (isError(error, 'PROCESS_NOT_FOUND')) return 'nobody'
  throw error
}

function isError(error: unknown, code: string): error is RuntimeError {
  return error instanceof RuntimeError && error.code === code
}
